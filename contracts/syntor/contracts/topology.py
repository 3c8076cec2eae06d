"""Streams, durable consumers and buckets as data; `syntor admin apply` makes the server match, services only bind.

Invariant: the log (`SYNTOR_EVENTS`) refuses an append rather than dropping a message: `discard: new`, no deletes, no
purges.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from syntor.contracts import subjects
from syntor.contracts.events import TASK_DECISION_EVENTS
from syntor.contracts.request.v1 import (
    ApprovalDecision,
    CancelRequested,
    MessageDeadLettered,
    QuestionAnswered,
    ToolResultSubmitted,
)
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.session.v1 import TurnTaken

EVENTS = "SYNTOR_EVENTS"
TIMERS = "SYNTOR_TIMERS"
PRESENCE = "SYNTOR_PRESENCE"
DEAD_LETTERS = "SYNTOR_DLQ"
BLOBS = "SYNTOR_BLOBS"
BLOBS_STREAM = f"OBJ_{BLOBS}"  # how the object store of the NATS clients names a bucket's stream

TASK_ACK_WAIT_S = 20.0  # renewed every 2 s while the task runs: a process may stall for 18 s before it loses a task
DECISION_ACK_WAIT_S = 1.5  # a decision takes milliseconds; a dead orchestrator's triggers are redelivered after this
MAX_DELIVER = 20  # deliveries before a message is dead-lettered; delays grow to 30 s, so about 5 minutes of retries
PRESENCE_TTL_S = 30  # silence after which an instance counts as offline
HEARTBEAT_INTERVAL_S = 10.0  # three missed heartbeats are silence
DUPLICATE_WINDOW_S = 120.0  # the server's dedup window; idempotency lives in the log


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One stream. Fields are those of the JetStream API, with units in the name where it has them."""

    name: str
    description: str
    subjects: list[str]
    storage: Literal["file", "memory"] = "file"
    discard: Literal["new", "old"] = "new"
    """new: refuse when full; old: drop the oldest."""
    deny_delete: bool = False
    deny_purge: bool = False
    allow_direct: bool = True
    allow_atomic: bool = False
    allow_msg_schedules: bool = False
    allow_msg_ttl: bool = False
    allow_rollup_hdrs: bool = False
    subject_delete_marker_ttl_s: float | None = None
    """Seconds the marker of an expired message stays; None: no markers."""
    max_msgs_per_subject: int = -1
    max_age_s: float = 0.0
    """Seconds; 0: unlimited."""
    duplicate_window_s: float = DUPLICATE_WINDOW_S
    compression: Literal["none", "s2"] = "none"
    """s2: blocks are compressed on disk once they are full."""


class ConsumerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One durable pull consumer."""

    stream: str
    name: str
    description: str
    filter_subjects: list[str]
    ack_wait_s: float
    max_ack_pending: int
    max_deliver: int = MAX_DELIVER
    deliver_policy: Literal["all", "new"] = "all"
    """new: for a queue created while the system runs."""


STREAMS: tuple[StreamSpec, ...] = (
    StreamSpec(
        name=EVENTS,
        compression="s2",
        description="The log: every event, in order, kept indefinitely",
        subjects=[subjects.ALL_EVENTS],
        deny_delete=True,
        deny_purge=True,
        allow_atomic=True,
    ),
    StreamSpec(
        name=TIMERS,
        description="Pending schedules and timers that fired",
        subjects=[subjects.ALL_TIMERS],
        discard="old",  # the server refuses schedules together with discard new; nothing limits this stream but age
        allow_msg_schedules=True,
        allow_msg_ttl=True,
        allow_rollup_hdrs=True,
        max_age_s=30 * 86400.0,
    ),
    StreamSpec(
        name=PRESENCE,
        description="Last heartbeat of each instance of each agent",
        subjects=[subjects.ALL_PRESENCE],
        storage="memory",
        discard="old",
        allow_msg_ttl=True,
        allow_rollup_hdrs=True,  # the server's markers of expired messages need it
        subject_delete_marker_ttl_s=60.0,
        max_msgs_per_subject=1,
    ),
    StreamSpec(
        name=DEAD_LETTERS,
        description="Dead-lettered messages, with cause and original position",
        subjects=[subjects.ALL_DEAD_LETTERS],
        discard="old",
        max_age_s=30 * 86400.0,
    ),
    StreamSpec(
        name=BLOBS_STREAM,
        description="Object store of payloads above 256 KiB, by SHA-256",
        subjects=[f"$O.{BLOBS}.C.>", f"$O.{BLOBS}.M.>"],
        allow_rollup_hdrs=True,
    ),
)

ORCHESTRATOR_DECISIONS = ConsumerSpec(
    stream=EVENTS,
    name="orchestrator-decisions",
    description="What can change a run's next decision",
    filter_subjects=[
        subjects.of_type(UserInput),
        subjects.of_type(CancelRequested),
        subjects.of_type(ApprovalDecision),
        subjects.of_type(ToolResultSubmitted),
        subjects.of_type(QuestionAnswered),
        subjects.of_type(MessageDeadLettered),
        *(subjects.of_type(struct) for struct in TASK_DECISION_EVENTS),
        subjects.of_type(TurnTaken),
    ],
    ack_wait_s=DECISION_ACK_WAIT_S,
    max_ack_pending=512,
)
ORCHESTRATOR_TIMERS = ConsumerSpec(
    stream=TIMERS,
    name="orchestrator-timers",
    description="Timers that fired: deadlines and expiries",
    filter_subjects=[subjects.TIMERS_FIRED],
    ack_wait_s=DECISION_ACK_WAIT_S,
    max_ack_pending=256,
)


def task_queue_consumer(queue: str) -> ConsumerSpec:
    """Return the durable consumer all instances serving `queue` share."""
    return ConsumerSpec(
        stream=EVENTS,
        name=f"agents-{queue}",
        description=f"Tasks assigned to the queue {queue}",
        filter_subjects=[subjects.task_queue(queue)],
        ack_wait_s=TASK_ACK_WAIT_S,
        max_ack_pending=1024,
        deliver_policy="new",
    )


EXTERNAL_QUEUE = "external"  # tasks of agents outside, called over HTTP by the external-agent gateway
BUILT_IN_AGENTS = ("coordination", "documentation", "git", "worker", "worker_code")
AGENT_ALIASES = {"coord": "coordination", "docs": "documentation", "code": "worker_code"}
"""Aliases of the built-in agents."""
RESERVED_AGENT_NAMES = frozenset({*BUILT_IN_AGENTS, *AGENT_ALIASES, EXTERNAL_QUEUE})
"""Ids and aliases no other agent may have: an agent of the last would take the external-agent gateway's tasks."""
CONSUMERS: tuple[ConsumerSpec, ...] = (
    ORCHESTRATOR_DECISIONS,
    ORCHESTRATOR_TIMERS,
    task_queue_consumer(EXTERNAL_QUEUE),
)
