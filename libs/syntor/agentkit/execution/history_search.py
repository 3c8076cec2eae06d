"""The tool `search_history`: finds what was said and done earlier in this session, summarised or not, in the log."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from syntor.agentkit.execution.session_history import read_turns
from syntor.agentkit.tools.tool import Tool, ToolRun
from syntor.contracts import subjects
from syntor.contracts.session.v1 import TurnTaken
from syntor.eventsourcing.store import EventStore
from syntor.models.chat import ChatMessage

SEARCH_HISTORY = "search_history"
MAX_FOUND = 8
MAX_RUNS = 500  # newest runs that are searched
_RUNS_PER_READ = 25
NONE: frozenset[str] = frozenset()
_EXCERPT = 400  # characters


class SearchHistory(msgspec.Struct, frozen=True):
    """Arguments of `search_history`."""

    query: Annotated[str, Meta(min_length=1, max_length=200, description="Words that all occur in what is searched")]


def search_history(store: EventStore, session_id: str, forked: list[str], hidden: frozenset[str] = NONE) -> Tool:
    """Return the tool for one session.

    Args:
        forked: runs of the session it was forked from, oldest first.
        hidden: runs a rewind took back, which are not searched.
    """

    async def run(_: ToolRun, arguments: SearchHistory) -> str:
        return await _search(store, session_id, forked, hidden, arguments.query)

    return Tool(
        name=SEARCH_HISTORY,
        description="Search the earlier turns of this conversation, also those that are only summarised here.",
        arguments=SearchHistory,
        run=run,
        paths=_no_paths,
        effect="read",
        repeatable=True,
        subject=_subject,
    )


def _no_paths(_: Any) -> list[str]:
    return []


def _subject(arguments: SearchHistory) -> str:
    return arguments.query


async def _search(store: EventStore, session_id: str, forked: list[str], hidden: frozenset[str], query: str) -> str:
    runs = list(forked)
    async for recorded in store.load(subjects.of_type(TurnTaken, session_id), skip_unreadable=True):
        if isinstance(recorded.event, TurnTaken):
            runs.append(recorded.event.run_id)
    runs = [run for run in runs if run not in hidden]
    searched = runs[-MAX_RUNS:]
    words = query.lower().split()
    found: list[str] = []
    for end in range(len(searched), 0, -_RUNS_PER_READ):
        for turn in reversed(await read_turns(store, searched[max(0, end - _RUNS_PER_READ) : end])):
            found += [text for message in turn.messages if (text := excerpt(message, words, turn.run_id))]
        if len(found) >= MAX_FOUND:
            break
    left = f"\n\n(searched the newest {MAX_RUNS} of {len(runs)} turns)" if len(runs) > MAX_RUNS else ""
    return ("\n\n".join(found[:MAX_FOUND]) or f"nothing found for {query!r}") + left


def excerpt(message: ChatMessage, words: list[str], run_id: str) -> str:
    """Return the part of a message around the first word, if it holds all of them; else an empty text."""
    text = message.content
    lower = text.lower()
    if not words or not all(word in lower for word in words):
        return ""
    start = max(0, lower.index(words[0]) - _EXCERPT // 2)
    part = text[start : start + _EXCERPT]
    return (
        f"run {run_id}, {message.role}: {'...' if start else ''}{part}{'...' if start + _EXCERPT < len(text) else ''}"
    )
