"""The event table: one row per event type and one per category, from which everything about events derives.

Subjects and their filters, store addressing, NATS permissions, JSON Schemas, AsyncAPI, the event reference and replay
read these rows. Invariants: the newest version of a type is the one code works with; older ones are upcast one step
at a time, so a message written once can always be read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

import msgspec

from syntor.contracts.agent import v1 as agent
from syntor.contracts.budget import v1 as budget
from syntor.contracts.log import v1 as log
from syntor.contracts.output import v1 as output
from syntor.contracts.request import v1 as request
from syntor.contracts.run import v1 as run
from syntor.contracts.session import v1 as session
from syntor.contracts.task import v1 as task
from syntor.contracts.timer import v1 as timer

Event = msgspec.Struct
"""Any event struct."""
EventKey = tuple[str, str, int]
"""Category, type, schema version."""
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Pure step from one schema version's data to the next one's."""
Writer = Literal["ingress", "orchestrator", "registry", "projector", "agent", "consumer", "server"]
"""Who may append: a service, any agent service, any service with a durable consumer, or the NATS server itself."""
Consistency = Literal["aggregate", "subject", "none"]
"""What an append's expected revision is about: all events of the aggregate, its own subject only, or nothing."""


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of aggregate."""

    name: str
    """Third token of the subject."""
    id_fields: tuple[str, ...]
    """Tokens of the aggregate id, in order."""
    consistency: Consistency
    """Consistency boundary of its appends."""
    description: str
    """One line, for the generated documents."""
    subject_prefix: str = "syntor.events"
    """What its subjects start with; timers are in a stream of their own."""

    @property
    def of_run(self) -> bool:
        """Whether its events belong to a run: the first token of the aggregate id is the run id."""
        return self.id_fields[0] == "run_id"


class EventType(msgspec.Struct, frozen=True):
    """One event type: a row of the table."""

    struct: type[Event]
    category: str
    writers: tuple[Writer, ...]
    key: tuple[str, ...] = ()
    """Fields that end the subject, joined by `-`; none: the subject ends with the type."""
    version: int = 1

    @property
    def type(self) -> str:
        """Wire name: the struct's name in snake case."""
        return type_name(self.struct)

    @property
    def summary(self) -> str:
        """First line of the struct's docstring."""
        return (self.struct.__doc__ or "").strip().splitlines()[0]

    def key_of(self, event: Event) -> str:
        """Return the last token of an event's subject; empty for a type without a key."""
        match self.key:
            case ():
                return ""
            case (field,):
                return str(getattr(event, field))
            case fields:
                return "-".join(str(getattr(event, field)) for field in fields)


@cache
def type_name(event: type[Event]) -> str:
    """Return the wire name of an event struct: its class name in snake case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()


CATEGORIES = (
    Category(name="run", id_fields=("run_id",), consistency="aggregate", description="A run and its decisions"),
    Category(
        name="task",
        id_fields=("run_id", "task_id"),
        consistency="aggregate",
        description="Work of an agent on a task",
    ),
    Category(
        name="output", id_fields=("run_id", "task_id"), consistency="none", description="Streamed output of a task"
    ),
    Category(
        name="request", id_fields=("run_id",), consistency="subject", description="Requests of clients about a run"
    ),
    Category(
        name="session",
        id_fields=("session_id",),
        consistency="aggregate",
        description="A session: turns, forks, rewinds, tools",
    ),
    Category(name="agent", id_fields=("agent_id",), consistency="aggregate", description="An agent's registration"),
    Category(
        name="budget", id_fields=("budget_id",), consistency="aggregate", description="Reservations against a limit"
    ),
    Category(name="log", id_fields=("log_id",), consistency="aggregate", description="Checkpoints of the whole log"),
    Category(
        name="timer",
        id_fields=("run_id", "name"),
        consistency="none",
        description="Timers of a run that fired",
        subject_prefix="syntor.timers.fired",
    ),
)

_AGENT: tuple[Writer, ...] = ("agent",)
_INGRESS: tuple[Writer, ...] = ("ingress",)
_ORCHESTRATOR: tuple[Writer, ...] = ("orchestrator",)
_REGISTRY: tuple[Writer, ...] = ("registry",)

EVENT_TYPES = (
    EventType(run.UserInput, "run", _INGRESS),
    EventType(run.RunStarted, "run", _ORCHESTRATOR),
    EventType(run.TaskAssigned, "run", _ORCHESTRATOR, key=("queue",)),
    EventType(run.RunPaused, "run", _ORCHESTRATOR),
    EventType(run.ApprovalExpired, "run", _ORCHESTRATOR, key=("approval_id",)),
    EventType(run.DelegationRefused, "run", _ORCHESTRATOR, key=("task_id",)),
    EventType(run.TaskTimedOut, "run", _ORCHESTRATOR),
    EventType(run.StepSkipped, "run", _ORCHESTRATOR, key=("task_id",)),
    EventType(run.RunDone, "run", _ORCHESTRATOR),
    EventType(run.RunFailed, "run", _ORCHESTRATOR),
    EventType(run.RunCancelled, "run", _ORCHESTRATOR),
    EventType(task.AgentInvokeStarted, "task", _AGENT),
    EventType(task.LlmCallStarted, "task", _AGENT),
    EventType(task.LlmCallDone, "task", _AGENT),
    EventType(task.LlmCallFailed, "task", _AGENT),
    EventType(task.ToolCallCreated, "task", _AGENT),
    EventType(task.PolicyDecision, "task", _AGENT),
    EventType(task.ApprovalRequired, "task", _AGENT),
    EventType(task.ApprovalApplied, "task", _AGENT),
    EventType(task.ToolRequest, "task", _AGENT),
    EventType(task.QuestionAsked, "task", _AGENT),
    EventType(task.PlanProposed, "task", _AGENT),
    EventType(task.DelegationRequested, "task", _AGENT),
    EventType(task.HistoryCompacted, "task", _AGENT),
    EventType(task.AgentInvokePaused, "task", _AGENT),
    EventType(task.ToolDispatched, "task", _AGENT),
    EventType(task.ToolResult, "task", _AGENT),
    EventType(task.WorkspaceCheckpointed, "task", _AGENT),
    EventType(task.AgentInvokeDone, "task", _AGENT),
    EventType(task.AgentInvokeFailed, "task", _AGENT),
    EventType(output.AgentStreamDelta, "output", _AGENT),
    EventType(output.AgentProgress, "output", _AGENT),
    EventType(request.CancelRequested, "request", _INGRESS),
    EventType(request.ApprovalDecision, "request", _INGRESS, key=("approval_id",)),
    EventType(request.ToolResultSubmitted, "request", _INGRESS, key=("task_id", "call_id")),
    EventType(request.QuestionAnswered, "request", _INGRESS, key=("question_id",)),
    EventType(request.MessageDeadLettered, "request", ("consumer",), key=("position",)),
    EventType(session.SessionForked, "session", _INGRESS),
    EventType(session.SessionRewound, "session", _INGRESS),
    EventType(session.ClientToolsRegistered, "session", _INGRESS),
    EventType(session.TurnQueued, "session", _ORCHESTRATOR),
    EventType(session.TurnTaken, "session", _ORCHESTRATOR),
    EventType(session.TurnReleased, "session", _ORCHESTRATOR),
    EventType(agent.AgentRegistered, "agent", _REGISTRY),
    EventType(agent.AgentStatusChanged, "agent", _REGISTRY),
    EventType(agent.AgentDeregistered, "agent", _REGISTRY),
    EventType(budget.BudgetReserved, "budget", _AGENT),
    EventType(budget.BudgetSettled, "budget", _AGENT),
    EventType(log.LogCheckpoint, "log", ("projector",)),
    EventType(timer.TimerFired, "timer", ("server",)),
)


class Catalogue:
    """The table, indexed: rows by struct and by key, categories by name, upcasting steps between versions."""

    def __init__(self, categories: Iterable[Category] = (), rows: Iterable[EventType] = ()) -> None:
        self._categories: dict[str, Category] = {}
        self._rows: dict[EventKey, EventType] = {}
        self._by_struct: dict[type[Event], EventType] = {}
        self._newest: dict[tuple[str, str], EventType] = {}
        self._steps: dict[EventKey, Upcaster] = {}
        for category in categories:
            self.add_category(category)
        for row in rows:
            self.add(row)

    def add_category(self, category: Category) -> None:
        """Add a category."""
        self._categories[category.name] = category

    def add(self, row: EventType) -> None:
        """Add a row; its category must be there."""
        key = (self._categories[row.category].name, row.type, row.version)
        self._rows[key] = row
        self._by_struct[row.struct] = row
        newest = self._newest.get(key[:2])
        if newest is None or newest.version < row.version:
            self._newest[key[:2]] = row

    @contextmanager
    def extended(self, category: Category, rows: Iterable[EventType]) -> Generator[None, None, None]:
        """Extend the table by a category and its rows for a while: to try a new aggregate before it is added."""
        kept = (self._categories, self._rows, self._by_struct, self._newest)
        self._categories, self._rows = dict(self._categories), dict(self._rows)
        self._by_struct, self._newest = dict(self._by_struct), dict(self._newest)
        try:
            self.add_category(category)
            for row in rows:
                self.add(row)
            yield
        finally:
            self._categories, self._rows, self._by_struct, self._newest = kept

    def add_upcaster(self, category: str, type_: str, from_version: int, step: Upcaster) -> None:
        """Add the step from `from_version` to the next version of a type."""
        self._steps[category, type_, from_version] = step

    def row_of(self, event: Event | type[Event]) -> EventType:
        """Return the row of an event or its struct."""
        return self._by_struct[event if isinstance(event, type) else type(event)]

    def category(self, name: str) -> Category | None:
        """Return a category, or None for an unknown one."""
        return self._categories.get(name)

    def newest(self, category: str, type_: str) -> EventType | None:
        """Return the row of the newest version of a type, or None for an unknown type."""
        return self._newest.get((category, type_))

    def step(self, category: str, type_: str, from_version: int) -> Upcaster | None:
        """Return the upcaster from `from_version` to the next, or None where there is none."""
        return self._steps.get((category, type_, from_version))

    def rows(self) -> list[EventType]:
        """Return all rows, by category, type and version."""
        return [self._rows[key] for key in sorted(self._rows)]

    def categories(self) -> list[Category]:
        """Return all categories, in the order added."""
        return list(self._categories.values())


CATALOGUE = Catalogue(CATEGORIES, EVENT_TYPES)

TERMINAL_RUN_EVENTS = (run.RunDone, run.RunFailed, run.RunCancelled)
TASK_END_EVENTS = (task.AgentInvokeDone, task.AgentInvokeFailed)
TASK_DECISION_EVENTS = (*TASK_END_EVENTS, task.AgentInvokePaused, task.PlanProposed, task.DelegationRequested)
"""Events of a task that change what its run decides next."""
TERMINAL_RUN_TYPES = frozenset(type_name(struct) for struct in TERMINAL_RUN_EVENTS)
TASK_END_TYPES = frozenset(type_name(struct) for struct in TASK_END_EVENTS)
TASK_DECISION_TYPES = frozenset(type_name(struct) for struct in TASK_DECISION_EVENTS)
