"""The HTTP API as commands call it: one method per request, responses decoded into the views of the contracts."""

from __future__ import annotations

import difflib
import os
from collections.abc import Generator, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from syntor.cli.delivery import deliver
from syntor.cli.event import Event, decode_event
from syntor.cli.output import ExitCode, fail
from syntor.contracts.errors import InvalidInputError
from syntor.contracts.http import v1 as http
from syntor.contracts.rpc import v1 as rpc
from syntor.contracts.run.v1 import Attachment, Budget, Permissions, RunDone, UserInput
from syntor.contracts.session.v1 import WorkspaceRewound
from syntor.contracts.task.v1 import AgentInvokeFailed
from syntor.contracts.vocabulary import ApprovalScope, RewindScope
from syntor.stack.layout import home_folder
from syntor.stack.running import ensure_running

RECONNECT_S = 30.0  # a restarted service is back within a few seconds
MAX_PAGE = 500  # rows of one page the server returns at most
_EVENTS_PAGE = 1000
_ID_LENGTH = 26
LATEST = "latest"
NEW_SESSION = "new:"
"""Before the name of a session that `--session` is to make."""


class RunRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of `POST /v1/runs`."""

    agent: str
    input: str
    workspace: str = ""
    model: str = ""
    session_id: str = ""
    timeout_s: float | None = None
    budget: Budget | None = None
    permissions: Permissions | None = None
    attachments: list[Attachment] = []


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of a decision on an approval."""

    approved: bool
    content_hash: str
    """Hash of what the user was shown."""
    scope: ApprovalScope = "once"
    """session: calls like it need no approval in this session any more."""
    reason: str = ""
    """Told to the agent on a rejection."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of a response to a question."""

    declined: bool = False
    text: str = ""
    values: dict[str, Any] | None = None
    """Values of the question's form."""


class Rewind(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of a rewind of a session."""

    to_run: str = ""
    scope: RewindScope = "both"
    redo: bool = False
    forced: bool = False
    workspaces: list[WorkspaceRewound] = []


class Api:
    """The API of one server. Every method raises ProblemError and NotReachableError as `Transport.get`."""

    def __init__(self, base_url: str) -> None:
        from syntor.cli.http_transport import Transport  # its HTTP client takes 150 ms to load: not for completion

        self._transport = Transport(base_url, reconnect_s=RECONNECT_S)

    @property
    def base_url(self) -> str:
        """Address of the server; it changes when the local stack comes back on another port."""
        return self._transport.base_url

    def runs(self, *, limit: int, session_id: str = "", agent: str = "", status: str = "") -> rpc.RunPage:
        """Return the newest runs, newest first; empty filters match every run.

        Args:
            limit: runs to return at most; the server's pages may have fewer.
        """
        filters = {"session_id": session_id, "agent": agent, "status": status}
        runs: list[rpc.RunView] = []
        cursor: int | None = None
        while True:
            wanted = limit - len(runs)
            page = self._transport.get("/v1/runs", rpc.RunPage, limit=wanted, cursor=cursor, **filters)
            runs += page.runs
            cursor = page.cursor
            if cursor is None or len(runs) >= limit:
                return rpc.RunPage(runs=runs, cursor=cursor, position=page.position)

    def session_runs(self, session_id: str) -> list[rpc.RunView]:
        """Return all runs of a session, newest first."""
        runs: list[rpc.RunView] = []
        cursor: int | None = None
        while True:
            page = self._transport.get("/v1/runs", rpc.RunPage, limit=MAX_PAGE, cursor=cursor, session_id=session_id)
            runs += page.runs
            cursor = page.cursor
            if cursor is None:
                return runs

    def run(self, run_id: str) -> rpc.RunView:
        """Return one run with its tasks."""
        return self._transport.get(f"/v1/runs/{run_id}", rpc.RunView)

    def start_run(self, request: RunRequest, key: str) -> http.Accepted:
        """Start a run; repeated for up to 30 s while the log takes nothing, which starts no second run.

        Args:
            key: idempotency key; `run_id_of` returns the id of the run.
        """
        return self._start("/v1/runs", request, key)

    def _start(self, path: str, body: object, key: str) -> http.Accepted:
        def send() -> http.Accepted:
            return self._transport.post(path, body, http.Accepted, idempotency_key=key)

        return deliver(send, "the message is not stored yet")

    def cancel_run(self, run_id: str, reason: str) -> http.CancelAccepted:
        """Request that a run is cancelled."""
        return self._transport.post(f"/v1/runs/{run_id}/cancel", {"reason": reason}, http.CancelAccepted)

    def retry_run(self, run_id: str, key: str) -> http.Accepted:
        """Start a new run with the input of another one; repeated as `start_run`."""
        return self._start(f"/v1/runs/{run_id}/retry", {}, key)

    def run_events(self, run_id: str) -> list[Event]:
        """Return all events of a run so far, oldest first."""
        found: list[Event] = []
        after: int | None = 0
        while after is not None:
            path = f"/v1/runs/{run_id}/events"
            page = self._transport.get(path, http.EventPage, after=after, limit=_EVENTS_PAGE)
            found += [decode_event(bytes(each)) for each in page.events]
            after = page.next_after
        return found

    def follow_run(self, run_id: str) -> Generator[Event, None, None]:
        """Yield the events of a run until its terminal event."""
        return self._transport.events(f"/v1/runs/{run_id}/events", of_run=True)

    def follow_log(self, subject: str, after: int | None) -> Generator[Event, None, None]:
        """Yield the events of the log without end; an empty filter matches all, without `after` only new ones."""
        query = urlencode({"subject": subject} if subject else {})
        return self._transport.events(f"/v1/events?{query}", after)

    def sessions(self, *, limit: int) -> rpc.SessionPage:
        """Return sessions, the one with the newest run first, at most `limit`."""
        sessions: list[rpc.SessionView] = []
        cursor: int | None = None
        while True:
            wanted = limit - len(sessions)
            page = self._transport.get("/v1/sessions", rpc.SessionPage, limit=wanted, cursor=cursor)
            sessions += page.sessions
            cursor = page.cursor
            if cursor is None or len(sessions) >= limit:
                return rpc.SessionPage(sessions=sessions, cursor=cursor, position=page.position)

    def messages(self, session_id: str) -> list[rpc.MessageView]:
        """Return all messages of a session, whole, oldest first."""
        messages: list[rpc.MessageView] = []
        before: int | None = None
        while True:
            path = f"/v1/sessions/{session_id}/messages"
            page = self._transport.get(path, rpc.MessagePage, limit=MAX_PAGE, before=before)
            messages = [self._whole(message) for message in page.messages] + messages
            before = page.cursor
            if before is None:
                return messages

    def _whole(self, message: rpc.MessageView) -> rpc.MessageView:
        """Return a message whole: what a list shows in part is in its event."""
        if not message.cut:
            return message
        [event] = self._transport.get(message.cut["content"].whole, http.EventPage).events
        match decode_event(bytes(event)).body:
            case UserInput(content=text) | RunDone(final_message=text) | AgentInvokeFailed(partial_message=text):
                return msgspec.structs.replace(message, content=text, cut={})
            case _:
                return message

    def session(self, session_id: str) -> rpc.SessionView:
        """Return one session."""
        return self._transport.get(f"/v1/sessions/{session_id}", rpc.SessionView)

    def rewind_session(self, session_id: str, rewind: Rewind) -> http.Rewound:
        """Record that turns of a session are taken back."""
        return self._transport.post(f"/v1/sessions/{session_id}/rewind", rewind, http.Rewound)

    def fork_session(self, session_id: str, at: int) -> http.Forked:
        """Fork a session as it was at a position; 0: as it is now."""
        return self._transport.post(f"/v1/sessions/{session_id}/fork", {"at": at} if at else {}, http.Forked)

    def session_context(self, session_id: str) -> http.SessionContext:
        """Return what the newest prompt of a session held."""
        return self._transport.get(f"/v1/sessions/{session_id}/context", http.SessionContext)

    def compact_session(self, session_id: str) -> http.Accepted:
        """Have the earlier turns of a session summarised; the run that does it."""
        return self._transport.post(f"/v1/sessions/{session_id}/compact", {}, http.Accepted)

    def approvals(self, *, status: str, session_id: str = "", limit: int = MAX_PAGE) -> rpc.ApprovalPage:
        """Return approvals, newest first, at most `limit`; empty filters match every approval."""
        return self._approvals("/v1/approvals", limit, status=status, session_id=session_id)

    def pending_approvals(self, run_id: str) -> list[rpc.ApprovalView]:
        """Return the approvals a run waits for."""
        return self._approvals(f"/v1/runs/{run_id}/approvals", MAX_PAGE, status="pending").approvals

    def _approvals(self, path: str, limit: int, **filters: str) -> rpc.ApprovalPage:
        """Return approvals with their whole previews: who decides has to see all of it."""
        found: list[rpc.ApprovalView] = []
        cursor: int | None = None
        while True:
            wanted = limit - len(found)
            page = self._transport.get(path, rpc.ApprovalPage, limit=wanted, cursor=cursor, **filters)
            for view in page.approvals:
                if view.cut:
                    preview = self.approval(view.run_id, view.approval_id).preview
                    view = msgspec.structs.replace(view, preview=preview, cut={})
                found.append(view)
            cursor = page.cursor
            if cursor is None or len(found) >= limit:
                return rpc.ApprovalPage(approvals=found, cursor=cursor, position=page.position)

    def questions(self, run_id: str) -> list[http.AskedQuestion]:
        """Return the questions of a run, oldest first."""
        return self._transport.get(f"/v1/runs/{run_id}/questions", http.QuestionPage).questions

    def answer(self, run_id: str, question_id: str, answer: Answer) -> http.SubmissionAccepted:
        """Submit a response to a question."""
        path = f"/v1/runs/{run_id}/questions/{question_id}"
        return self._transport.post(path, answer, http.SubmissionAccepted)

    def approval(self, run_id: str, approval_id: str) -> http.Approval:
        """Return one approval, with its decision."""
        return self._transport.get(f"/v1/runs/{run_id}/approvals/{approval_id}", http.Approval)

    def decide(self, run_id: str, approval_id: str, decision: Decision) -> http.SubmissionAccepted:
        """Submit a decision on an approval; repeated for up to 30 s while the log takes nothing."""
        path = f"/v1/runs/{run_id}/approvals/{approval_id}"

        def send() -> http.SubmissionAccepted:  # the server accepts the same decision of the same caller again
            return self._transport.post(path, decision, http.SubmissionAccepted)

        return deliver(send, "the decision is not stored yet")

    def agents(self) -> rpc.AgentList:
        """Return all registered agents, by id."""
        agents: list[rpc.AgentView] = []
        cursor: str | None = None
        while True:
            page = self._transport.get("/v1/agents", rpc.AgentList, cursor=cursor)
            agents += page.agents
            cursor = page.cursor
            if cursor is None:
                return rpc.AgentList(agents=agents)

    def agent(self, agent_id: str) -> rpc.AgentView:
        """Return one agent, by id or alias."""
        return self._transport.get(f"/v1/agents/{agent_id}", rpc.AgentView)

    def usage(self, *, group_by: str, run_id: str = "", session_id: str = "") -> rpc.UsageReport:
        """Return what model calls used, summed up by group."""
        filters = {"run_id": run_id, "session_id": session_id}
        rows: list[rpc.UsageRow] = []
        cursor: int | None = None
        while True:
            page = self._transport.get("/v1/usage", rpc.UsageReport, group_by=group_by, cursor=cursor, **filters)
            rows += page.rows
            cursor = page.cursor
            if cursor is None:
                return rpc.UsageReport(rows=rows, position=page.position)

    def dead_letters(self, *, limit: int) -> http.DeadLetterPage:
        """Return dead letters, newest first."""
        return self._transport.get("/v1/dead_letters", http.DeadLetterPage, limit=limit)

    def dead_letter(self, number: int) -> http.DeadLetter:
        """Return one dead letter."""
        return self._transport.get(f"/v1/dead_letters/{number}", http.DeadLetter)

    def drop_dead_letter(self, number: int) -> http.DeadLetter:
        """Remove a dead letter and return it."""
        return self._transport.delete(f"/v1/dead_letters/{number}", http.DeadLetter)

    def resolve_run(self, text: str) -> str:
        """Return the id of a run given as `latest`, as an id, or as the unique beginning or end of one."""
        if len(text) == _ID_LENGTH:
            return text
        ids = [run.run_id for run in self.runs(limit=1 if text == LATEST else MAX_PAGE).runs]
        if text == LATEST:
            if not ids:
                fail("there is no run yet", ExitCode.RUN_FAILED, 'start one: syntor chat "hello"')
            return ids[0]
        found = _matching(text, ids)
        if len(found) > 1:
            fail(f"run {text!r} is ambiguous: {', '.join(found[:5])}", ExitCode.USAGE)
        return found[0] if found else text

    def session_ids(self) -> list[str]:
        """Return the ids of the newest sessions, the newest first."""
        return [session.session_id for session in self.sessions(limit=MAX_PAGE).sessions]

    def resolve_session(self, text: str) -> str:
        """Return the id of a session given as `latest`, as an id, or as the unique beginning or end of one."""
        ids = self.session_ids()
        if text == LATEST and ids:
            return ids[0]
        if text in ids:
            return text
        found = _matching(text, ids)
        if len(found) > 1:
            fail(f"session {text!r} is ambiguous: {', '.join(found[:5])}", ExitCode.USAGE)
        if not found:
            near = difflib.get_close_matches(text, ids, n=3, cutoff=0.6)
            meant = f"did you mean {' or '.join(near)}?" if near else "syntor sessions list shows all"
            fail(f"session {text!r} is unknown; {meant}", ExitCode.USAGE, "--session new:NAME makes one")
        return found[0]

    def chosen_session(self, text: str) -> str:
        """Return the session an option `--session` means: an existing one, or with `new:NAME` one of that name.

        Raises:
            InvalidInputError: a session of the new name exists.
        """
        name = text.removeprefix(NEW_SESSION)
        if name == text:
            return self.resolve_session(text)
        if name in self.session_ids():
            raise InvalidInputError(f"session {name!r} exists; continue it with --session {name}")
        return name


def open_api() -> Api:
    """Return the API at SYNTOR_URL, or that of the home folder's stack, which is started if it does not run."""
    return Api(ensure_running(home_folder(os.environ)))


def _matching(text: str, ids: Sequence[str]) -> list[str]:
    return [each for each in ids if each.startswith(text) or each.endswith(text)]
