"""Serves queries from the read model; waits for the caller's `min_position` first (read-your-writes).

No reply is larger than a message may be: pages end early, and long texts are shown in part.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec

from syntor.contracts.clock import now
from syntor.contracts.errors import LogBehindError, NotFoundError, NotReachableError
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
    GetRun,
    GetSession,
    GetStatus,
    GetUsage,
    ListApprovals,
    ListMessages,
    ListRuns,
    ListSessions,
    MessagePage,
    ProjectorStatus,
    RunPage,
    RunView,
    SessionPage,
    SessionView,
    UsageReport,
    UsageRow,
)
from syntor.contracts.task.v1 import Usage
from syntor.contracts.vocabulary import UsageGroup
from syntor.jetstream.requests import Endpoint
from syntor.projections.runner import ProjectionRunner
from syntor.projections.store import ReadModelStore
from syntor.projector import views
from syntor.projector.domain import parts
from syntor.projector.domain.approvals import APPROVALS
from syntor.projector.domain.runs import RUNS
from syntor.projector.domain.sessions import MESSAGES
from syntor.projector.domain.tasks import TASKS

_ENVELOPE_BYTES = 1024  # of a reply, beside its rows
_USAGE_ROWS = 5000  # of one report
WAIT_S = 5.0
DOUBT_S = 1.0  # after which a query asks whether the log has the position it waits for
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
        self,
        store: ReadModelStore,
        runner: ProjectionRunner,
        name: str,
        last_position: Callable[[], Awaitable[int]],
        max_payload: int,
    ) -> None:
        """Prepare.

        Args:
            max_payload: bytes of the largest message.
        """
        self._fits = max_payload - _ENVELOPE_BYTES
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
        shown = parts.columns(RUNS, {"input": parts.INPUT_CHARACTERS, "final_message": parts.ANSWER_CHARACTERS})
        sql = f"SELECT {shown} FROM runs {where}ORDER BY first_position DESC LIMIT {query.limit + 1}"
        found = await self._store.fetch(sql, *parameters)
        listed = [views.run(row, f"/v1/runs/{row['run_id']}", listed=True) for row in found[: query.limit]]
        runs = parts.fitting(listed, self._fits)
        cursor = runs[-1].first_position if len(found) > len(runs) else None
        return RunPage(runs=runs, cursor=cursor, position=self._runner.reached)

    async def get_run(self, query: GetRun) -> RunView:
        """Return one run."""
        await self._wait(query.min_position)
        shown = parts.columns(RUNS, {"input": self._fits, "final_message": self._fits})
        found = await self._store.fetch(f"SELECT {shown} FROM runs WHERE run_id = ?", query.run_id)
        if not found:
            raise NotFoundError(f"no run {query.run_id!r}")
        shown = parts.columns(TASKS, {"instruction": parts.MESSAGE_CHARACTERS})
        sql = f"SELECT {shown} FROM tasks WHERE run_id = ? ORDER BY first_position, task_id"
        tasks = [views.task(row) for row in await self._store.fetch(sql, query.run_id)]
        run = views.run(found[0], f"/v1/runs/{query.run_id}/events")
        return parts.fitting_run(msgspec.structs.replace(run, tasks=tasks), self._fits)

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
        shown = parts.columns(APPROVALS, {"preview": parts.MESSAGE_CHARACTERS}, "a.")
        sql = (
            f"SELECT {shown}, {_SHOWN_STATUS} AS shown_status FROM approvals a JOIN runs r ON r.run_id = a.run_id "
            f"{where}ORDER BY a.first_position DESC LIMIT {query.limit + 1}"
        )
        found = await self._store.fetch(sql, *parameters)
        approvals = parts.fitting([views.approval(row) for row in found[: query.limit]], self._fits)
        cursor = found[len(approvals) - 1]["first_position"] if len(found) > len(approvals) else None
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
        sessions = parts.fitting([views.session(row) for row in found[: query.limit]], self._fits)
        cursor = found[len(sessions) - 1]["last_first_position"] if len(found) > len(sessions) else None
        return SessionPage(sessions=sessions, cursor=cursor, position=self._runner.reached)

    async def get_session(self, query: GetSession) -> SessionView:
        """Return one session."""
        await self._wait(query.min_position)
        found = await self._store.fetch("SELECT * FROM sessions WHERE session_id = ?", query.session_id)
        if not found:
            raise NotFoundError(f"no session {query.session_id!r}")
        return views.session(found[0])

    async def list_messages(self, query: ListMessages) -> MessagePage:
        """Page through a session's messages, the newest page first; each answer follows its question."""
        await self._wait(query.min_position)
        session = await self.get_session(GetSession(session_id=query.session_id))
        before = "AND (turn < ? OR (turn = ? AND position < ?)) " if query.before else ""
        limits = [turn := await self._turn(query.before), turn, query.before] if query.before else []
        runs, hidden = session.forked_history, session.hidden
        own = f"(session_id = ? OR run_id IN ({', '.join('?' * len(runs))}))" if runs else "session_id = ?"
        own += f" AND run_id NOT IN ({', '.join('?' * len(hidden))})" if hidden else ""
        shown = parts.columns(MESSAGES, {"content": parts.MESSAGE_CHARACTERS})
        order = f"ORDER BY turn DESC, position DESC LIMIT {query.limit + 1}"
        sql = f"SELECT {shown} FROM messages WHERE {own} {before}{order}"
        parameters = [query.session_id, *runs, *hidden, *limits]
        found = await self._store.fetch(sql, *parameters)
        newest = parts.fitting([views.message(row) for row in found[: query.limit]], self._fits)
        messages = newest[::-1]
        cursor = messages[0].position if len(found) > len(messages) else None
        return MessagePage(messages=messages, cursor=cursor, position=self._runner.reached)

    async def _turn(self, position: int) -> int:
        """Return the turn of the message at a position; the position itself where there is none."""
        found = await self._store.fetch("SELECT turn FROM messages WHERE position = ?", position)
        return int(found[0]["turn"]) if found else position

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
            f"FROM model_calls {where}GROUP BY {column} ORDER BY SUM(input_tokens + output_tokens) DESC, {column} "
            f"LIMIT {_USAGE_ROWS + 1} OFFSET {query.skip}"
        )
        found = [
            UsageRow(key=row["key"], calls=row["calls"], usage=views.usage(row), duration_s=float(row["duration_s"]))
            for row in await self._store.fetch(sql, *chosen.values())
        ]
        rows = parts.fitting(found[:_USAGE_ROWS], self._fits)
        cursor = query.skip + len(rows) if len(found) > len(rows) else None
        return UsageReport(rows=rows, position=self._runner.reached, cursor=cursor)

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
        try:
            await self._runner.wait_for(position, DOUBT_S)
        except NotReachableError:
            end = await self._last_position()
            if position > end:
                text = f"position {position} is beyond the end of the log, {end}: the log was restored from an old copy"
                raise LogBehindError(text) from None
            await self._runner.wait_for(position, WAIT_S - DOUBT_S)
