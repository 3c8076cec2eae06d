"""Sessions are found by words of their titles, and written to documents whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from syntor.cli.interactive.slash.sessions import matching
from syntor.cli.interactive.transcript import transcript
from syntor.contracts.rpc.v1 import MessageView, SessionView
from syntor.contracts.task.v1 import Usage
from syntor.contracts.vocabulary import MessageRole, MessageStatus

AT = datetime(2026, 1, 1, tzinfo=UTC)


def _session(session_id: str, title: str) -> SessionView:
    return SessionView(
        session_id=session_id,
        title=title,
        agent="git",
        runs=1,
        messages=2,
        created_at=AT,
        updated_at=AT,
        last_run_id="r",
        usage=Usage(),
        position=1,
    )


def test_a_session_is_found_by_all_words_of_a_search() -> None:
    known = [_session("s1", "Fix the lamp"), _session("s2", "Paint the lamp")]
    assert [each.session_id for each in matching(known, "LAMP fix")] == ["s1"]
    assert [each.session_id for each in matching(known, "s2")] == ["s2"]
    assert matching(known, "") == known
    assert matching(known, "door") == []


def _message(role: MessageRole, content: str, status: MessageStatus) -> MessageView:
    return MessageView(position=1, run_id="r", role=role, agent="git", content=content, status=status, created_at=AT)


def test_a_transcript_holds_each_message_whole() -> None:
    messages = [_message("user", "hello\n", "complete"), _message("assistant", "part", "cancelled")]
    shown = transcript("s1", messages, as_json=False)
    assert shown == "# Session s1\n\n## You\n\nhello\n\n## git (cancelled)\n\npart\n"
    written = json.loads(transcript("s1", messages, as_json=True))["messages"]
    assert [each["content"] for each in written] == ["hello\n", "part"]
