"""A conversation is fitted into the context window: recent messages, and old tool results left out first."""

from __future__ import annotations

from syntor.agentkit.domain.context_window import (
    CHARACTERS_PER_TOKEN,
    MAX_CHARACTERS,
    MAX_MESSAGES,
    recent_messages,
    truncate_history,
)
from syntor.models.chat import ChatMessage


def test_only_the_newest_messages_that_fit_are_kept_beginning_with_a_user() -> None:
    pairs = [ChatMessage(role=role, content="x") for _ in range(40) for role in ("user", "assistant")]
    kept = recent_messages(pairs)
    assert (len(kept), kept[0].role) == (MAX_MESSAGES, "user")
    long = [ChatMessage(role="user", content="y" * MAX_CHARACTERS), ChatMessage(role="assistant", content="z")]
    assert recent_messages([*long, ChatMessage(role="user", content="new")])[-1].content == "new"
    assert sum(len(message.content) for message in recent_messages(long)) <= MAX_CHARACTERS + 1


def _conversation(*results: str) -> list[ChatMessage]:
    question = ChatMessage(role="user", content="q" * 50)
    return [question, *(ChatMessage(role="tool", content=result) for result in results)]


def test_a_conversation_within_the_window_is_unchanged() -> None:
    messages = _conversation("x" * 5000)
    assert truncate_history(messages, 0) == messages
    assert truncate_history(messages, 5050 // CHARACTERS_PER_TOKEN + 1) == messages


def test_old_tool_results_are_left_out_before_the_newest_is_cut() -> None:
    messages = _conversation("a" * 3000, "b" * 3000)
    [question, old, newest] = truncate_history(messages, 1100)
    assert question == messages[0]
    assert "left out to save room" in old.content
    assert newest == messages[2]
    [question, old, newest] = truncate_history(messages, 500)
    assert question == messages[0]
    assert newest.content.startswith("b")
    assert "characters left out" in newest.content
    assert len(newest.content) < 1500
