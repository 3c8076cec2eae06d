"""Every event type: which struct belongs to which category, type and schema version.

Invariants: the newest version of a type is the one code works with; older ones are upcast one step at a time
(`UPCASTERS`), so a message written once can be read for ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec

from syntor.contracts.agent import v1 as agent_v1
from syntor.contracts.budget import v1 as budget_v1
from syntor.contracts.output import v1 as output_v1
from syntor.contracts.request import v1 as request_v1
from syntor.contracts.run import v1 as run_v1
from syntor.contracts.session import v1 as session_v1
from syntor.contracts.task import v1 as task_v1
from syntor.contracts.timer import v1 as timer_v1

Event = msgspec.Struct
"""Any event struct."""
EventKey = tuple[str, str, int]
"""Category, type, schema version."""
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Pure step from one schema version's data to the next one's."""

TERMINAL_RUN_TYPES = frozenset({"run_done", "run_failed", "run_cancelled"})
TASK_END_TYPES = frozenset({"agent_invoke_done", "agent_invoke_failed"})
TASK_DECISION_TYPES = TASK_END_TYPES | {"agent_invoke_paused", "plan_proposed", "delegation_requested"}
"""What an agent says that changes what its run calls for next."""

_MODULES: dict[str, dict[int, ModuleType]] = {
    "run": {1: run_v1},
    "task": {1: task_v1},
    "output": {1: output_v1},
    "request": {1: request_v1},
    "agent": {1: agent_v1},
    "budget": {1: budget_v1},
    "session": {1: session_v1},
    "timer": {1: timer_v1},
}


def type_name(event: type[Event]) -> str:
    """Return the wire name of an event struct: its class name in snake case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()


class Catalogue:
    """Event structs by category, type and version, and the upcasting steps between versions."""

    def __init__(self) -> None:
        self._structs: dict[EventKey, type[Event]] = {}
        self._keys: dict[type[Event], EventKey] = {}
        self._newest: dict[tuple[str, str], int] = {}
        self._steps: dict[EventKey, Upcaster] = {}

    def add(self, category: str, version: int, struct: type[Event]) -> None:
        """Make a struct known as version `version` of its type in `category`."""
        type_ = type_name(struct)
        key = (category, type_, version)
        self._structs[key] = struct
        self._keys[struct] = key
        self._newest[category, type_] = max(version, self._newest.get((category, type_), 0))

    def add_upcaster(self, category: str, type_: str, from_version: int, step: Upcaster) -> None:
        """Make known the step from `from_version` to the next version of a type."""
        self._steps[category, type_, from_version] = step

    def key_of(self, event: Event) -> EventKey:
        """Return category, type and version of an event."""
        return self._keys[type(event)]

    def newest(self, category: str, type_: str) -> int | None:
        """Return the newest version known of a type, or None for an unknown type."""
        return self._newest.get((category, type_))

    def struct(self, category: str, type_: str, version: int) -> type[Event]:
        """Return the struct of a known key."""
        return self._structs[category, type_, version]

    def step(self, category: str, type_: str, from_version: int) -> Upcaster | None:
        """Return the upcaster from `from_version` to the next, or None where there is none."""
        return self._steps.get((category, type_, from_version))

    def items(self) -> list[tuple[EventKey, type[Event]]]:
        """Return all keys and structs, sorted by key."""
        return sorted(self._structs.items(), key=lambda item: item[0])


def _build() -> Catalogue:
    catalogue = Catalogue()
    for category, versions in _MODULES.items():
        for version, module in versions.items():
            for struct in module.EVENTS:
                catalogue.add(category, version, struct)
    return catalogue


CATALOGUE = _build()
