"""What is left of a reply that is too large for one message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from syntor.contracts.rpc.v1 import Cut, RunView, TaskView
from syntor.contracts.task.v1 import Usage
from syntor.projector.domain import parts
from syntor.projector.domain.runs import RUNS

AT = datetime(2026, 11, 21, tzinfo=UTC)


def _run(**changes: Any) -> RunView:
    texts: Any = dict.fromkeys(("input", "final_message", "error_code", "error_message", "model", "correlation_id"), "")
    numbers: Any = dict.fromkeys(("llm_calls", "tool_calls", "first_position", "position"), 1)
    run = RunView(
        run_id="r1",
        session_id="s1",
        agent="worker",
        status="done",
        **texts,
        **numbers,
        metadata={},
        created_at=AT,
        started_at=None,
        ended_at=None,
        usage=Usage(),
    )
    return msgspec.structs.replace(run, **changes)


def test_a_page_has_what_fits_and_at_least_one() -> None:
    views = ["x" * 98] * 10  # 100 bytes of JSON each, 101 with the comma
    assert len(parts.fitting(views, 10_000)) == 10
    assert len(parts.fitting(views, 303)) == 3
    assert len(parts.fitting(views, 302)) == 2
    assert len(parts.fitting(views, 5)) == 1
    assert parts.fitting([], 5) == []


def test_a_text_is_chosen_in_part_with_its_length() -> None:
    chosen = parts.columns(RUNS, {"input": 5}, "r.")
    assert "SUBSTR(r.input, 1, 5) AS input, LENGTH(r.input) AS input_length" in chosen
    assert "r.final_message" in chosen
    row = {"input": "12345", "input_length": 7, "preview": "", "preview_length": 0}
    assert parts.cuts(row, ("input", "preview"), "/there") == {"input": Cut(size=7, whole="/there")}


def test_a_run_that_fits_is_left_as_it_is() -> None:
    run = _run(input="x" * 1000)
    assert parts.fitting_run(run, 100_000) is run


@pytest.mark.parametrize("text", ["x", "\u0001", "\U0001f600"])
def test_any_run_fits_and_says_what_it_lacks(text: str) -> None:
    tasks = [TaskView(task_id=f"t{n}", agent="worker", status="done", instruction=text * 5000) for n in range(200)]
    run = _run(
        input=text * 300_000,
        final_message=text * 300_000,
        metadata={f"k{n}": text * 4000 for n in range(200)},
        tasks=tasks,
    )
    shown = parts.fitting_run(run, 500_000)
    assert parts.size_of(shown) <= 500_000
    assert shown.cut["final_message"] == Cut(size=300_000, whole="/v1/runs/r1/events")
    assert shown.cut["metadata"].size > 200 * 4000
    assert shown.tasks[0].cut["instruction"].size == 5000
    assert (len(shown.tasks) < 200) == ("tasks" in shown.cut)
    assert run.final_message.startswith(shown.final_message)
