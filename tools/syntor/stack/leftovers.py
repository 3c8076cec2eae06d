"""Kills orphaned processes of a killed supervisor. Called under the lock, so no running supervisor owns them."""

from __future__ import annotations

from syntor.stack.identity import is_alive, kill_group, wait_gone
from syntor.stack.layout import Layout
from syntor.stack.state import read_state

_EXIT_S = 5.0


def remove_leftovers(layout: Layout) -> list[str]:
    """Kill processes of the last stack that still run; return a notice about them.

    Killing is safe: every service survives `kill -9` by design, and a process is only killed when its id and start
    time are the recorded ones.
    """
    state = read_state(layout.state)
    if state is None:
        return []
    found = [service for service in state.services if is_alive(service.pid, service.mark)]
    for service in found:
        kill_group(service.pid, service.mark)
    for service in found:
        wait_gone(service.pid, service.mark, _EXIT_S)
    layout.state.unlink(missing_ok=True)
    if found:
        return [f"the last stack did not stop properly; killed {', '.join(service.name for service in found)}"]
    return ["the last stack did not stop properly; nothing is lost"]
