"""Rewinds of sessions: which turns are taken back is an event of the session; files are changed where they are."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from syntor.contracts import subjects
from syntor.contracts.bounds import Id
from syntor.contracts.errors import ConflictError, NotFoundError
from syntor.contracts.http.v1 import Rewound
from syntor.contracts.rpc import v1 as rpc
from syntor.contracts.session.v1 import SessionRewound, WorkspaceRewound
from syntor.contracts.vocabulary import RewindScope
from syntor.ingress.api.run_bodies import Body
from syntor.ingress.gateway import Gateway, session_lineage
from syntor.ingress.http.context import RequestContext
from syntor.ingress.http.operation import Call, Operation, Reply, reply
from syntor.ingress.http.parameters import Query

DEFAULT_REWOUND_BY = "http"
_PAGE = 500


class WorkspaceInput(WorkspaceRewound, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the client brings back in one workspace once the rewind is in the log."""


class RewindSession(Body, frozen=True, kw_only=True):
    """Body of POST /v1/sessions/{session_id}/rewind."""

    to_run: Id = ""
    """First run to take back, with all after it; required unless `redo`."""
    scope: RewindScope = "both"
    """What to take back."""
    redo: bool = False
    """Whether to take back the newest rewind instead."""
    forced: bool = False
    """Whether files that someone else changed are taken back too."""
    workspaces: Annotated[list[WorkspaceInput], Meta(max_length=100)] = []
    """Where the client brings files back."""


async def newest_rewind(gateway: Gateway, session_id: str, up_to: int | None = None) -> SessionRewound:
    """Return the newest rewind of a session, up to a position; an empty one where there is none."""
    found = await gateway.last(subjects.event("session", session_id, "session_rewound"), up_to)
    return found.event if found is not None and isinstance(found.event, SessionRewound) else SessionRewound()


class RewindRoutes:
    """Handlers of rewinds."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def operations(self) -> list[Operation]:
        """Return the rows of the route table."""
        return [
            Operation(
                method="POST",
                path="/v1/sessions/{session_id}/rewind",
                handler=self.rewind,
                id="rewindSession",
                scope="run",
                tag="Sessions",
                summary="Rewind a session",
                description="Runs from `to_run` on are taken back: agents do not see their messages any more, and the "
                "client that has the workspace brings its files back. The log keeps everything. No run of the session "
                "may be in progress.",
                body=RewindSession,
                example={"to_run": "01k5w3v6q8m2x4c7b9n0d1f2g3", "scope": "conversation"},
                replies=(Reply(description="The rewind is in the log.", schema=Rewound),),
                problems=("not_found", "conflict"),
            )
        ]

    async def rewind(self, call: Call[Query, RewindSession]) -> Response:
        """POST /v1/sessions/{session_id}/rewind."""
        session_id, body = call.path("session_id"), call.body
        runs = await self._runs(session_id, call.context)
        before = await newest_rewind(self._gateway, session_id)
        if body.redo and before == SessionRewound():
            raise ConflictError(f"session {session_id!r} has no rewind to take back")
        hidden, undone = before.hidden_before, before.undone_before
        if not body.redo:
            taken = _from(runs, body.to_run, session_id)
            hidden = _joined(before.hidden, taken if body.scope != "files" else [])
            undone = _joined(before.undone, taken if body.scope != "conversation" else [])
        event = SessionRewound(
            to_run="" if body.redo else body.to_run,
            scope=body.scope,
            forced=body.forced,
            hidden=hidden,
            undone=undone,
            hidden_before=before.hidden,
            undone_before=before.undone,
            workspaces=[WorkspaceRewound(**msgspec.structs.asdict(one)) for one in body.workspaces],
            rewound_by=call.context.caller or DEFAULT_REWOUND_BY,
        )
        lineage = session_lineage(call.context, session_id)
        position = await self._gateway.append_next(event, session_id, lineage)
        return reply(Rewound(session_id=session_id, hidden=hidden, undone=undone, position=position))

    async def _runs(self, session_id: str, context: RequestContext) -> list[str]:
        """Return the runs of a session, oldest first, those it was forked with included.

        Raises:
            NotFoundError: there is no such session.
            ConflictError: one of them has not ended.
        """
        position = self._gateway.hub.position
        body = await self._gateway.call(
            rpc.PROJECTOR, rpc.GET_SESSION, rpc.GetSession(session_id=session_id, min_position=position), context
        )
        session = msgspec.json.decode(body, type=rpc.SessionView)
        found: list[rpc.RunView] = []
        before: int | None = 0
        while before is not None:
            request = rpc.ListRuns(session_id=session_id, limit=_PAGE, before=before, min_position=position)
            page = msgspec.json.decode(
                await self._gateway.call(rpc.PROJECTOR, rpc.LIST_RUNS, request, context), type=rpc.RunPage
            )
            found += page.runs
            before = page.cursor
        if busy := next((run.run_id for run in found if run.ended_at is None), ""):
            raise ConflictError(f"run {busy!r} of the session is in progress; cancel it or wait for its end")
        return [*session.forked_history, *(run.run_id for run in reversed(found))]


def _from(runs: list[str], to_run: str, session_id: str) -> list[str]:
    """Return a run and all after it.

    Raises:
        NotFoundError: the session has no such run.
    """
    if to_run not in runs:
        raise NotFoundError(f"session {session_id!r} has no run {to_run!r} (to_run: the first run to take back)")
    return runs[runs.index(to_run) :]


def _joined(known: list[str], more: list[str]) -> list[str]:
    return list(dict.fromkeys([*known, *more]))
