"""Serves queries from the read model; waits for the caller's `min_position` first (read-your-writes)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec

from syntor.contracts.clock import now
from syntor.contracts.errors import NotFoundError
from syntor.contracts.rpc.v1 import (
    GET_RUN,
    GET_SESSION,
    GET_STATUS,
    GET_USAGE,
    LIST_APPROVALS,
    LIST_MESSAGES,
    LIST_RUNS,
    LIST_SESSIONS,
    ApprovalPage,
    ApprovalView,
    GetRun,
    GetSession,
    GetStatus,
    GetUsage,
    ListApprovals,
    ListMessages,
    ListRuns,
    ListSessions,
    MessagePage,
    MessageView,
    ProjectorStatus,
    RunPage,
    RunView,
    SessionPage,
    SessionView,
    TaskView,
    UsageReport,
    UsageRow,
)
from syntor.contracts.task.v1 import Usage
from syntor.contracts.vocabulary import UsageGroup
from syntor.jetstream.requests import Endpoint
from syntor.projections.projection import Row
from syntor.projections.runner import ProjectionRunner
from syntor.projections.store import ReadModelStore

INPUT_CHARACTERS = 2000  # shown of a run's input in a list
WAIT_S = 5.0
_SHOWN_STATUS = "CASE WHEN a.status = 'pending' AND r.ended_at IS NOT NULL THEN 'void' ELSE a.status END"
GROUPS: dict[UsageGroup, str] = {
    "run": "run_id",
    "session": "session_id",
    "agent": "agent",
    "model": "model",
    "day": "day",
}


class Queries:
    """Handlers of the projector's endpoints; the contracts bound every parameter."""

    def __init__(
        self, store: ReadModelStore, runner: ProjectionRunner, name: str, last_position: Callable[[], Awaitable[int]]
    ) -> None:
        self._store = store
        self._runner = runner
        self._name = name
        self._last_position = last_position

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        """Return the endpoints, each with its request type and handler."""
        return [
            Endpoint(LIST_RUNS, ListRuns, self.list_runs, "Runs, newest first"),
            Endpoint(GET_RUN, GetRun, self.get_run, "One run"),
            Endpoint(LIST_SESSIONS, ListSessions, self.list_sessions, "Sessions, newest first"),
            Endpoint(GET_SESSION, GetSession, self.get_session, "One session"),
            Endpoint(LIST_MESSAGES, ListMessages, self.list_messages, "Messages of a session"),
            Endpoint(LIST_APPROVALS, ListApprovals, self.list_approvals, "Approvals, newest first"),
            Endpoint(GET_USAGE, GetUsage, self.get_usage, "Tokens and cost of model calls, summed"),
            Endpoint(GET_STATUS, GetStatus, self.get_status, "Checkpoint and lag of the read model"),
        ]

    async def list_runs(self, query: ListRuns) -> RunPage:
        """Page through runs, newest first."""
        await self._wait(query.min_position)
        wanted = {"session_id": query.session_id, "agent": query.agent, "status": query.status}
        given = {column: value for column, value in wanted.items() if value}
        conditions = [f"{column} = ?" for column in given]
        parameters: list[Any] = list(given.values())
        if query.before:
            conditions.append("first_position < ?")
            parameters.append(query.before)
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        sql = f"SELECT * FROM runs {where}ORDER BY first_position DESC LIMIT {query.limit + 1}"
        found = await self._store.fetch(sql, *parameters)
        runs = [_run(row, short=True) for row in found[: query.limit]]
        cursor = runs[-1].first_position if len(found) > query.limit else None
        return RunPage(runs=runs, cursor=cursor, position=self._runner.reached)

    async def get_run(self, query: GetRun) -> RunView:
        """Return one run."""
        await self._wait(query.min_position)
        found = await self._store.fetch("SELECT * FROM runs WHERE run_id = ?", query.run_id)
        if not found:
            raise NotFoundError(f"no run {query.run_id!r}")
        sql = "SELECT * FROM tasks WHERE run_id = ? ORDER BY first_position, task_id"
        tasks = [_task(row) for row in await self._store.fetch(sql, query.run_id)]
        return msgspec.structs.replace(_run(found[0]), tasks=tasks)

    async def list_approvals(self, query: ListApprovals) -> ApprovalPage:
        """Page through approvals, newest first."""
        await self._wait(query.min_position)
        wanted = {"a.run_id": query.run_id, "a.session_id": query.session_id, _SHOWN_STATUS: query.status}
        conditions = [f"{column} = ?" for column, value in wanted.items() if value]
        parameters: list[Any] = [value for value in wanted.values() if value]
        if query.before:
            conditions.append("a.first_position < ?")
            parameters.append(query.before)
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        sql = (
            f"SELECT a.*, {_SHOWN_STATUS} AS shown_status FROM approvals a JOIN runs r ON r.run_id = a.run_id "
            f"{where}ORDER BY a.first_position DESC LIMIT {query.limit + 1}"
        )
        found = await self._store.fetch(sql, *parameters)
        cursor = found[query.limit - 1]["first_position"] if len(found) > query.limit else None
        approvals = [_approval(row) for row in found[: query.limit]]
        return ApprovalPage(approvals=approvals, cursor=cursor, position=self._runner.reached)

    async def pending_approvals(self) -> tuple[int, float]:
        """Return how many approvals wait for a person, and the age of the oldest in seconds; 0 where none waits."""
        sql = (
            "SELECT COUNT(*) AS count, MIN(a.created_at) AS oldest FROM approvals a "
            f"JOIN runs r ON r.run_id = a.run_id WHERE a.status = 'pending' AND {_SHOWN_STATUS} = 'pending'"
        )
        row = (await self._store.fetch(sql))[0]
        if not row["count"]:
            return 0, 0.0
        oldest = msgspec.convert(row["oldest"], datetime)
        return int(row["count"]), max((now() - oldest).total_seconds(), 0.0)

    async def list_sessions(self, query: ListSessions) -> SessionPage:
        """Page through sessions, the one with the newest run first."""
        await self._wait(query.min_position)
        where = "WHERE last_first_position < ? " if query.before else ""
        sql = f"SELECT * FROM sessions {where}ORDER BY last_first_position DESC LIMIT {query.limit + 1}"
        found = await self._store.fetch(sql, *([query.before] if query.before else []))
        cursor = found[query.limit - 1]["last_first_position"] if len(found) > query.limit else None
        sessions = [_session(row) for row in found[: query.limit]]
        return SessionPage(sessions=sessions, cursor=cursor, position=self._runner.reached)

    async def get_session(self, query: GetSession) -> SessionView:
        """Return one session."""
        await self._wait(query.min_position)
        found = await self._store.fetch("SELECT * FROM sessions WHERE session_id = ?", query.session_id)
        if not found:
            raise NotFoundError(f"no session {query.session_id!r}")
        return _session(found[0])

    async def list_messages(self, query: ListMessages) -> MessagePage:
        """Page through a session's messages, the newest page first."""
        await self._wait(query.min_position)
        session = await self.get_session(GetSession(session_id=query.session_id))
        before = "AND position < ? " if query.before else ""
        runs = session.forked_history
        own = f"(session_id = ? OR run_id IN ({', '.join('?' * len(runs))}))" if runs else "session_id = ?"
        sql = f"SELECT * FROM messages WHERE {own} {before}ORDER BY position DESC LIMIT {query.limit + 1}"
        parameters = [query.session_id, *runs, *([query.before] if query.before else [])]
        found = await self._store.fetch(sql, *parameters)
        messages = [_message(row) for row in reversed(found[: query.limit])]
        cursor = messages[0].position if len(found) > query.limit else None
        return MessagePage(messages=messages, cursor=cursor, position=self._runner.reached)

    async def get_usage(self, query: GetUsage) -> UsageReport:
        """Sum tokens, cost and duration of model calls by a group."""
        await self._wait(query.min_position)
        column = GROUPS[query.group_by]
        given = {"run_id": query.run_id, "session_id": query.session_id}
        chosen = {name: value for name, value in given.items() if value}
        where = f"WHERE {' AND '.join(f'{name} = ?' for name in chosen)} " if chosen else ""
        sums = ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in Usage.__struct_fields__)
        sql = (
            f"SELECT {column} AS key, COUNT(*) AS calls, SUM(duration_s) AS duration_s, {sums} "
            f"FROM model_calls {where}GROUP BY {column} ORDER BY SUM(input_tokens + output_tokens) DESC, {column}"
        )
        rows = [
            UsageRow(key=row["key"], calls=row["calls"], usage=_usage(row), duration_s=float(row["duration_s"]))
            for row in await self._store.fetch(sql, *chosen.values())
        ]
        return UsageReport(rows=rows, position=self._runner.reached)

    async def get_status(self, _: GetStatus) -> ProjectorStatus:
        """Return checkpoint and lag of the read model."""
        position = self._runner.reached
        return ProjectorStatus(
            position=position,
            last_position=max(position, await self._last_position()),
            projections={self._name: position},
            database=self._store.kind,
        )

    async def _wait(self, position: int) -> None:
        await self._runner.wait_for(position, WAIT_S)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _usage(row: Row) -> Usage:
    return Usage(**{name: int(row[name] or 0) for name in Usage.__struct_fields__})


def _run(row: Row, *, short: bool = False) -> RunView:
    return RunView(
        run_id=row["run_id"],
        session_id=row["session_id"],
        agent=row["agent"],
        status=row["status"],
        input=row["input"][:INPUT_CHARACTERS] if short else row["input"],
        final_message=row["final_message"],
        error_code=row["error_code"],
        error_message=row["error_message"],
        model=row["model"],
        correlation_id=row["correlation_id"],
        metadata=json.loads(row["metadata"]),
        created_at=_time(row["created_at"]),
        started_at=_time(row["started_at"]) if row["started_at"] else None,
        ended_at=_time(row["ended_at"]) if row["ended_at"] else None,
        usage=_usage(row),
        llm_calls=row["llm_calls"],
        tool_calls=row["tool_calls"],
        first_position=row["first_position"],
        position=row["position"],
        retry_of=row["retry_of"],
        steps=row["steps"],
        steps_completed=row["steps_completed"],
        not_applied=row["not_applied"],
    )


def _task(row: Row) -> TaskView:
    return TaskView(
        **{name: row[name] for name in ("task_id", "agent", "status", "instruction", "parent", "step", "handoff_from")},
        depends_on=json.loads(row["depends_on"]),
        attempt=row["attempt"],
        message=row["message"],
        sandbox=row["sandbox"],
        created_at=_time(row["created_at"]),
        ended_at=_time(row["ended_at"]) if row["ended_at"] else None,
    )


def _approval(row: Row) -> ApprovalView:
    shown = (
        *("run_id", "session_id", "task_id", "approval_id", "agent", "title", "preview", "reason", "rule"),
        *("content_hash", "decided_by", "decision_reason", "position"),
    )
    return ApprovalView(
        **{name: row[name] for name in shown},
        status=row["shown_status"],
        created_at=_time(row["created_at"]),
        expires_at=_time(row["expires_at"]) if row["expires_at"] else None,
        decided_at=_time(row["decided_at"]) if row["decided_at"] else None,
    )


def _session(row: Row) -> SessionView:
    return SessionView(
        session_id=row["session_id"],
        title=row["title"],
        agent=row["agent"],
        runs=row["runs"],
        messages=row["messages"],
        created_at=_time(row["created_at"]),
        updated_at=_time(row["updated_at"]),
        last_run_id=row["last_run_id"],
        usage=_usage(row),
        position=row["position"],
        forked_from=row["forked_from"],
        forked_history=json.loads(row["forked_history"]),
    )


def _message(row: Row) -> MessageView:
    return MessageView(
        position=row["position"],
        run_id=row["run_id"],
        role=row["role"],
        agent=row["agent"],
        content=row["content"],
        status=row["status"],
        created_at=_time(row["created_at"]),
    )
