"""Fits a conversation into a model's context window."""

from __future__ import annotations

import msgspec

from syntor.models.chat import ChatMessage

MAX_MESSAGES = 50
MAX_CHARACTERS = 12_000  # of earlier runs; about 3,000 tokens, half of the smallest model's context
CHARACTERS_PER_TOKEN = 3  # of code and English text, a conservative estimate
_DROPPED = "(this result was left out to save room; call the tool again if it is needed)"
_KEPT_CHARACTERS = 400  # results up to this length are never left out


def recent_messages(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Return the newest messages within the limits, oldest first, starting with a user's."""
    kept: list[ChatMessage] = []
    characters = 0
    for message in reversed(messages[-MAX_MESSAGES:]):
        characters += len(message.content)
        if characters > MAX_CHARACTERS and kept:
            break
        kept.append(message)
    kept.reverse()
    while kept and kept[0].role != "user":
        kept.pop(0)
    return kept


def truncate_history(messages: list[ChatMessage], context_tokens: int) -> list[ChatMessage]:
    """Return messages that take about `context_tokens` at most; 0: unchanged.

    Tool results are left out from the oldest on, then the newest one is cut in the middle; messages of users and
    models stay whole.
    """
    room = context_tokens * CHARACTERS_PER_TOKEN
    total = sum(_size(message) for message in messages)
    if not context_tokens or total <= room:
        return messages
    truncated = list(messages)
    results = [
        number
        for number, message in enumerate(truncated)
        if message.role == "tool" and _size(message) > _KEPT_CHARACTERS
    ]
    for number in results[:-1]:
        if total <= room:
            return truncated
        total -= _size(truncated[number]) - len(_DROPPED)
        truncated[number] = msgspec.structs.replace(truncated[number], content=_DROPPED)
    if results and total > room:
        newest = truncated[results[-1]]
        truncated[results[-1]] = msgspec.structs.replace(newest, content=_cut(newest.content, total - room))
    return truncated


def _cut(content: str, excess: int) -> str:
    """Return a text without `excess` characters of its middle, but not shorter than what is always kept."""
    keep = max(_KEPT_CHARACTERS, len(content) - excess)
    removed = len(content) - keep
    return f"{content[: keep // 2]}\n... ({removed} characters left out) ...\n{content[len(content) - keep // 2 :]}"


def _size(message: ChatMessage) -> int:
    return len(message.content) + sum(len(call.arguments) for call in message.tool_calls)
