"""Reads which runs have not ended, from the subjects of the log: what the limit of open runs begins with."""

from __future__ import annotations

from syntor.contracts import subjects
from syntor.contracts.events import TERMINAL_RUN_EVENTS, Event
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.topology import EVENTS
from syntor.jetstream.admin import subjects_of
from syntor.jetstream.connection import Connection


async def read_open_runs(connection: Connection) -> set[str]:
    """Return the ids of the runs that had not ended when it was called.

    One that ends meanwhile may be among them: the events that follow say so.

    Raises:
        InfrastructureError: the log did not respond.
    """
    open_runs = await _run_ids(connection, UserInput)
    for ending in TERMINAL_RUN_EVENTS:
        open_runs -= await _run_ids(connection, ending)
    return open_runs


async def _run_ids(connection: Connection, type_: type[Event]) -> set[str]:
    found = await subjects_of(connection, EVENTS, subjects.of_type(type_))
    return {subjects.parse_event(subject).aggregate_id for subject in found}
