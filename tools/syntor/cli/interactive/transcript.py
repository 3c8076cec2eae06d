"""The messages of a session as a document: Markdown or JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from syntor.contracts.rpc.v1 import MessageView


def transcript(session_id: str, messages: Sequence[MessageView], *, as_json: bool) -> str:
    """Return a document of all messages, oldest first; Markdown keeps the text of each as it is."""
    if as_json:
        document = {"session_id": session_id, "messages": messages}
        return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"
    parts = [f"# Session {session_id}\n"]
    for message in messages:
        who = "You" if message.role == "user" else message.agent
        ended = "" if message.status == "complete" else f" ({message.status})"
        parts.append(f"## {who}{ended}\n\n{message.content.strip()}\n")
    return "\n".join(parts)
