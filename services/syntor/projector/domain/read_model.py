"""The read model: all tables, folded from events only, so that a rebuild yields identical rows. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from syntor.contracts import subjects
from syntor.eventsourcing.store import Recorded
from syntor.projections.projection import RowKey, Rows, Table
from syntor.projector.domain import agents, approvals, model_calls, runs, sessions, tasks

_UNUSED = re.compile(rf"{re.escape(subjects.EVENTS_PREFIX)}\.(output\.|log\.|session\.[^.]+\.turn_)")
_KEYS = (runs.keys, tasks.keys, approvals.keys, sessions.keys, agents.keys)
_APPLY = (runs.apply, tasks.apply, approvals.apply, sessions.apply, model_calls.apply, agents.apply)


class ReadModel:
    """`Projection` of runs, tasks, approvals, sessions, messages, model calls and agents."""

    name = "read_model"
    version = 7
    tables: tuple[Table, ...] = (
        runs.RUNS,
        tasks.TASKS,
        approvals.APPROVALS,
        sessions.SESSIONS,
        sessions.MESSAGES,
        model_calls.MODEL_CALLS,
        agents.AGENTS,
    )

    def handles(self, subject: str) -> bool:
        """Return whether a message can change a row; output deltas, session turns and checkpoints of the log cannot."""
        return _UNUSED.match(subject) is None

    def keys(self, recorded: Recorded) -> Iterable[RowKey]:
        """Return the rows an event may read or change."""
        return [key for keys in _KEYS for key in keys(recorded)]

    def apply(self, rows: Rows, recorded: Recorded) -> None:
        """Change rows by one event, table after table: messages and model calls read their run's row."""
        for apply in _APPLY:
            apply(rows, recorded)

    def mark_not_applied(self, rows: Rows, recorded: Recorded) -> None:
        """Count an event in the row of its run."""
        runs.mark_not_applied(rows, recorded)
