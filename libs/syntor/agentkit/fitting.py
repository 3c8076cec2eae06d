"""Makes a conversation fit a model's context: old tool results give way first."""

from __future__ import annotations

import msgspec

from syntor.models.chat import ChatMessage

CHARACTERS_PER_TOKEN = 3  # of code and English text, on the safe side
_DROPPED = "(this result was left out to save room; call the tool again if it is needed)"
_LEAST = 400  # characters of a result that are never worth dropping


def fit(messages: list[ChatMessage], context_tokens: int) -> list[ChatMessage]:
    """Return messages that take about `context_tokens` at most; 0: as they are.

    Results of tools are replaced from the oldest on, then the newest are cut in the middle; what people and models said
    stays whole.
    """
    room = context_tokens * CHARACTERS_PER_TOKEN
    total = sum(_size(message) for message in messages)
    if not context_tokens or total <= room:
        return messages
    fitting = list(messages)
    results = [number for number, message in enumerate(fitting) if message.role == "tool" and _size(message) > _LEAST]
    for number in results[:-1]:
        if total <= room:
            return fitting
        total -= _size(fitting[number]) - len(_DROPPED)
        fitting[number] = msgspec.structs.replace(fitting[number], content=_DROPPED)
    if results and total > room:
        newest = fitting[results[-1]]
        keep = max(_LEAST, len(newest.content) - (total - room))
        cut = f"{newest.content[: keep // 2]}\n... ({len(newest.content) - keep} characters left out) ...\n"
        content = cut + newest.content[len(newest.content) - keep // 2 :]
        fitting[results[-1]] = msgspec.structs.replace(newest, content=content)
    return fitting


def _size(message: ChatMessage) -> int:
    return len(message.content) + sum(len(call.arguments) for call in message.tool_calls)
