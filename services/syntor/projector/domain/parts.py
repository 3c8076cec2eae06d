"""What of a reply fits into one message: pages end early, and long texts are shown in part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from syntor.contracts.rpc.v1 import Cut, Cuts, RunView, TaskView
from syntor.projections.projection import Row, Table

T = TypeVar("T")

INPUT_CHARACTERS = 2000  # shown of a run's input in a list
ANSWER_CHARACTERS = 16_000  # of its answer in a list
MESSAGE_CHARACTERS = 64_000  # of a session's message, and of an approval's preview
LABELS_CHARACTERS = 16_000  # of a run's metadata, as JSON
_TASK_CHARACTERS = 2000  # of a task's texts, where a run with all of them does not fit
_LENGTH = "_length"


def columns(table: Table, limits: dict[str, int], prefix: str = "") -> str:
    """Return the columns of a SELECT: of those in `limits` the first characters, and the length of the whole."""
    chosen: list[str] = []
    for name in table.columns:
        if name in limits:
            chosen.append(f"SUBSTR({prefix}{name}, 1, {limits[name]}) AS {name}")
            chosen.append(f"LENGTH({prefix}{name}) AS {name}{_LENGTH}")
        else:
            chosen.append(prefix + name)
    return ", ".join(chosen)


def cuts(row: Row, fields: Iterable[str], whole: str) -> Cuts:
    """Return which texts of a row that `columns` chose are not whole.

    Args:
        whole: path that has the whole text.
    """
    return {
        field: Cut(size=row[field + _LENGTH], whole=whole) for field in fields if row[field + _LENGTH] > len(row[field])
    }


def size_of(value: Any) -> int:
    """Return the bytes of a value in a message."""
    return len(msgspec.json.encode(value))


def fitting(views: Sequence[T], limit_bytes: int) -> list[T]:
    """Return the first views that fit into a message together; at least one, if there is any."""
    size = 0
    for number, view in enumerate(views):
        size += size_of(view) + 1  # the comma
        if size > limit_bytes and number:
            return list(views[:number])
    return list(views)


def fitting_run(run: RunView, limit_bytes: int) -> RunView:
    """Return a run that fits into a message: as it is, with its texts in part, or with its first tasks only."""
    if size_of(run) <= limit_bytes:
        return run
    events = f"/v1/runs/{run.run_id}/events"
    texts = {"input": INPUT_CHARACTERS, "final_message": ANSWER_CHARACTERS}
    tasks = [
        _shortened(task, {"instruction": _TASK_CHARACTERS, "message": _TASK_CHARACTERS}, events) for task in run.tasks
    ]
    run = msgspec.structs.replace(_shortened(run, texts, events), tasks=tasks)
    if size_of(run.metadata) > LABELS_CHARACTERS:
        run = without_labels(run, size_of(run.metadata), events)
    if size_of(run) <= limit_bytes:
        return run
    shown: list[TaskView] = fitting(tasks, limit_bytes - size_of(msgspec.structs.replace(run, tasks=[])) - 200)
    return msgspec.structs.replace(run, tasks=shown, cut=run.cut | {"tasks": Cut(size=len(tasks), whole=events)})


def without_labels(run: RunView, size: int, whole: str) -> RunView:
    """Return a run without its metadata, which has `size` characters as JSON."""
    return msgspec.structs.replace(run, metadata={}, cut=run.cut | {"metadata": Cut(size=size, whole=whole)})


V = TypeVar("V", RunView, TaskView)


def _shortened(view: V, limits: dict[str, int], whole: str) -> V:
    changes: dict[str, Any] = {}
    cut = dict(view.cut)
    for field, limit in limits.items():
        text: str = getattr(view, field)
        if len(text) > limit:
            changes[field] = text[:limit]
            cut.setdefault(field, Cut(size=len(text), whole=whole))
    return msgspec.structs.replace(view, cut=cut, **changes) if changes else view
