"""Reads what a session's earlier runs said and did from the log: the newest ones, as far as they are of use."""

from __future__ import annotations

from syntor.agentkit.domain.context_window import Memory, Turn, tokens_of_all
from syntor.contracts import subjects
from syntor.contracts.bounds import clip
from syntor.contracts.run.v1 import RunCancelled, RunDone, RunFailed, UserInput
from syntor.contracts.task.v1 import AgentInvokeFailed, HistoryCompacted, LlmCallDone, ToolCall, ToolResult
from syntor.eventsourcing.store import EventStore, Recorded
from syntor.models.chat import ChatMessage

MAX_RUNS = 50  # earlier runs that are read
_FILTERS_OF_A_RUN = 6
_RUNS_PER_READ = 300 // _FILTERS_OF_A_RUN  # a read has bounded filters
_NO_RESULT = "(no result was recorded)"
_REASON_CHARACTERS = 300
_ROOT = "t1"


class _Ends:
    """The first and last events of one run."""

    def __init__(self) -> None:
        self.input: Recorded | None = None
        self.end: Recorded | None = None
        self.partial = ""
        self.compacted: HistoryCompacted | None = None

    def add(self, recorded: Recorded) -> None:
        """Take in one event."""
        match recorded.event:
            case UserInput():
                self.input = recorded
            case RunDone() | RunFailed() | RunCancelled():
                self.end = recorded
            case AgentInvokeFailed(partial_message=text) if text:
                self.partial = text
            case HistoryCompacted() as event:
                self.compacted = event
            case _:
                pass


class SessionHistory:
    """The earlier runs of a session: what was said is read once, what was done when it is needed."""

    def __init__(self, store: EventStore, run_ids: list[str], ends: dict[str, _Ends]) -> None:
        self._store = store
        self._ends = ends
        summaries = [found for run_id in run_ids if (found := ends[run_id].compacted) is not None]
        self._summary = summaries[-1].summary if summaries else ""
        last = summaries[-1].last_run if summaries else ""
        self._run_ids = run_ids[run_ids.index(last) + 1 :] if last in run_ids else run_ids

    @classmethod
    async def read(cls, store: EventStore, run_ids: list[str]) -> SessionHistory:
        """Read what was said in the newest of these runs.

        Args:
            run_ids: oldest first.

        Raises:
            InfrastructureError: the log could not be read.
        """
        newest = run_ids[-MAX_RUNS:]
        return cls(store, newest, await _read_ends(store, newest))

    @property
    def said(self) -> Memory:
        """The newest summary and the turns after it, without tool calls."""
        turns = [turn for run_id in self._run_ids if (turn := _said(run_id, self._ends[run_id])) is not None]
        return Memory(summary=self._summary, turns=turns)

    async def memory(self, most_tokens: int) -> Memory:
        """Return the newest summary and the turns after it, the newest ones with their tool calls.

        Args:
            most_tokens: turns beyond it are returned without tool calls and results; no prompt has room for them.

        Raises:
            InfrastructureError: the log could not be read.
        """
        return Memory(summary=self._summary, turns=await _turns(self._store, self._run_ids, self._ends, most_tokens))


async def read_turns(store: EventStore, run_ids: list[str]) -> list[Turn]:
    """Return the turns of runs with all their tool calls, oldest first, whether they were summarised or not.

    Raises:
        InfrastructureError: the log could not be read.
    """
    return await _turns(store, run_ids, await _read_ends(store, run_ids), None)


async def _turns(store: EventStore, run_ids: list[str], ends: dict[str, _Ends], most_tokens: int | None) -> list[Turn]:
    turns: list[Turn] = []
    used = 0
    for run_id in reversed(run_ids):
        turn = _said(run_id, ends[run_id])
        if turn is not None and (most_tokens is None or used < most_tokens):
            turn = await _with_work(store, turn, ends[run_id])
        if turn is not None:
            used += tokens_of_all(turn.messages)
            turns.append(turn)
    return turns[::-1]


async def _read_ends(store: EventStore, run_ids: list[str]) -> dict[str, _Ends]:
    ends = {run_id: _Ends() for run_id in run_ids}
    for start in range(0, len(run_ids), _RUNS_PER_READ):
        filters: list[str] = []
        for run_id in run_ids[start : start + _RUNS_PER_READ]:
            filters += [subjects.of_type(kind, run_id) for kind in (UserInput, RunDone, RunFailed, RunCancelled)]
            filters += [subjects.of_type(kind, f"{run_id}.*") for kind in (AgentInvokeFailed, HistoryCompacted)]
        for recorded in await store.last_of_each(filters):
            if (found := ends.get(recorded.envelope.runid)) is not None:
                found.add(recorded)
    return ends


def _said(run_id: str, ends: _Ends) -> Turn | None:
    """Return what was said in a run; None: it has no message, or was about the history itself."""
    if ends.input is None or not isinstance(ends.input.event, UserInput) or ends.input.event.compact:
        return None
    messages = [ChatMessage(role="user", content=content_of(ends.input.event))]
    end = ends.end.event if ends.end is not None else None
    answer = end.final_message if isinstance(end, RunDone) else ends.partial
    messages.append(ChatMessage(role="assistant", content=answer or _unanswered(end)))
    last = ends.end.position if ends.end is not None else ends.input.position
    return Turn(run_id=run_id, first=ends.input.position, last=last, messages=messages)


def _unanswered(end: object) -> str:
    """Return what stands for an answer that there is none of: roles alternate for every provider."""
    match end:
        case RunFailed(code=code, message=message):
            return f"(no answer: {code}: {clip(message, _REASON_CHARACTERS)})"
        case RunCancelled():
            return "(no answer: the user stopped it)"
        case _:
            return "(no answer)"


async def _with_work(store: EventStore, turn: Turn, ends: _Ends) -> Turn:
    """Return a turn with the tool calls and results of the task that answered."""
    end = ends.end.event if ends.end is not None else None
    task_id = (end.task_id if isinstance(end, RunDone | RunFailed) else "") or _ROOT
    calls: list[LlmCallDone] = []
    results: dict[str, ToolResult] = {}
    wanted = tuple(f".{kind}" for kind in ("llm_call_done", "tool_result"))
    task = subjects.aggregate("task", subjects.task_id(turn.run_id, task_id))
    async for recorded in store.load(
        task, after=turn.first, up_to=turn.last, wanted=lambda subject: subject.endswith(wanted), skip_unreadable=True
    ):
        match recorded.event:
            case LlmCallDone(tool_calls=made) if made:
                calls.append(recorded.event)
            case ToolResult(call_id=call_id):
                results[call_id] = recorded.event
            case _:
                pass
    user, *answer = turn.messages
    work = [message for call in calls for message in _round(call, results, turn.first)]
    return Turn(run_id=turn.run_id, first=turn.first, last=turn.last, messages=[user, *work, *answer])


def _round(done: LlmCallDone, results: dict[str, ToolResult], turn: int) -> list[ChatMessage]:
    """Return one round of tool calls; ids are unique in the session, since providers require it."""
    ids = {call.id: f"r{turn}_{call.id}" for call in done.tool_calls}
    calls = [ToolCall(id=ids[call.id], name=call.name, arguments=call.arguments) for call in done.tool_calls]
    messages = [ChatMessage(role="assistant", content=done.text, tool_calls=calls)]
    for call in done.tool_calls:
        result = results.get(call.id)
        content = result.content if result is not None else _NO_RESULT
        messages.append(ChatMessage(role="tool", content=content, tool_call_id=ids[call.id]))
    return messages


def content_of(request: UserInput) -> str:
    """Return a user's message followed by its attachments, each under its name."""
    attached = [f"{attachment.name}:\n```\n{attachment.content}\n```" for attachment in request.attachments]
    return "\n\n".join([request.content, *attached])
