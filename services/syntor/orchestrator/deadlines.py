"""Deadlines of runs: keeps the server's schedules equal to the timers a run needs.

A deadline costs two requests a run, to set and to purge its schedule: together 0.5 ms and 0.25 ms of CPU, measured on
two cores; a timer that fires without effect would cost more, later.
"""

from __future__ import annotations

from syntor.jetstream.timers import Timers
from syntor.orchestrator.domain import run as runs
from syntor.orchestrator.runs import CachedRun


async def keep(timers: Timers, run: CachedRun) -> None:
    """Set the timers a run needs and cancel those it no longer needs; safe to repeat."""
    needed = runs.deadlines(run.state)
    for name, (at, event) in needed.items():
        if run.timers.get(name) != (at, event):
            await timers.set(run.id, name, at, event, run.lineage)
            run.timers[name] = at, event
    if run.state.is_terminal:
        if run.timers or run.state.tasks:  # another instance may have set some
            await timers.cancel_all(run.id)
            run.timers.clear()
        return
    for name in [name for name in run.timers if name not in needed]:
        await timers.cancel(run.id, name)
        del run.timers[name]
