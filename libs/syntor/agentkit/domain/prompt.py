"""What a prompt consists of, so that a person can see it; pure functions over its parts."""

from __future__ import annotations

import msgspec

from syntor.agentkit.domain.context_window import Fitted, Memory, summary_messages, tokens_of_all, tokens_of_text
from syntor.contracts.bounds import MAX_LINE, clip
from syntor.contracts.task.v1 import PromptPart
from syntor.models.chat import ChatMessage


class SystemPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a system prompt."""

    name: str
    text: str
    note: str = ""


def system_message(parts: list[SystemPart]) -> ChatMessage:
    """Return the system prompt."""
    return ChatMessage(role="system", content="\n\n".join(part.text for part in parts if part.text))


def context_parts(
    system: list[SystemPart], memory: Memory, fitted: Fitted, own: list[ChatMessage], tools_tokens: int, tools: int
) -> tuple[PromptPart, ...]:
    """Return the parts of a prompt with their estimated tokens, and what was left out with none."""
    parts = [_part(part.name, tokens_of_text(part.text), part.note) for part in system if part.text]
    if tools:
        parts.append(_part("tools", tools_tokens, f"{tools} offered"))
    all_earlier = tokens_of_all(fitted.messages)
    head = min(all_earlier, tokens_of_all(summary_messages(memory.summary)))
    if memory.summary:
        parts.append(_part("summary of earlier turns", head))
    if kept := len(memory.turns) - fitted.turns_left_out:
        parts.append(_part("earlier turns", all_earlier - head, f"{kept} turns"))
    parts.append(_part("this turn", tokens_of_all(own)))
    if fitted.turns_shortened:
        parts.append(_part("left out", 0, f"tool calls and results of {fitted.turns_shortened} earlier turns"))
    if fitted.turns_left_out:
        parts.append(_part("left out", 0, f"{fitted.turns_left_out} earlier turns"))
    return tuple(parts)


def _part(name: str, tokens: int, note: str = "") -> PromptPart:
    return PromptPart(name=clip(name, MAX_LINE), tokens=max(0, tokens), note=clip(note, MAX_LINE))
