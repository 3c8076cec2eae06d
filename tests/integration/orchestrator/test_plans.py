"""A plan of twelve steps on a real server: the orchestrator dies at every append, and every step is done once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from syntor.contracts.events import Event
from syntor.contracts.run.v1 import RunDone, TaskAssigned
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokePaused, PlanProposed, PlanStep, Wait

NEEDS: dict[str, list[str]] = {
    "first": [],
    "left1": ["first"],
    "left2": ["left1"],
    "left3": ["left2"],
    **{f"wide{number}": ["first"] for number in range(6)},
    "join": ["left3", *(f"wide{number}" for number in range(6))],
    "last": ["join"],
}
TASKS = {name: f"t1-c1_1-{number}" for number, name in enumerate(NEEDS, 1)}
PLAN = PlanProposed(
    call_id="c1_1",
    summary="a diamond",
    steps=[
        PlanStep(id=name, agent="worker", queue="worker", action=name, depends_on=needs, task_id=TASKS[name])
        for name, needs in NEEDS.items()
    ],
)
APPENDS = 18  # turn, start, root, twelve steps, resume, end, turn given back


def _agents(task: TaskAssigned) -> list[Event]:
    """Return the events of the plan's agents."""
    if task.step:
        return [AgentInvokeDone(final_message=f"{task.step} is done")]
    if task.resume == 0:
        return [PLAN, AgentInvokePaused(waits=[Wait(kind="task", id=task_id) for task_id in TASKS.values()])]
    return [AgentInvokeDone(final_message=f"{len(task.settled_tasks)} steps are settled")]


def _check(scene: Any, run_id: str) -> None:
    events = scene.of(run_id)
    assigned = [recorded for recorded in events if isinstance(recorded.event, TaskAssigned)]
    steps = Counter(recorded.event.step for recorded in assigned if recorded.event.step)
    assert steps == Counter(dict.fromkeys(NEEDS, 1))
    over = {r.envelope.subject.rpartition(".")[2]: r.position for r in events if isinstance(r.event, AgentInvokeDone)}
    for recorded in assigned:
        needed = [TASKS[name] for name in NEEDS.get(recorded.event.step, [])]
        assert recorded.event.inputs == needed
        assert all(over[task_id] < recorded.position for task_id in needed)
    [root, resumed] = [recorded.event for recorded in assigned if not recorded.event.step]
    assert (root.resume, resumed.resume) == (0, 1)
    assert sorted(resumed.settled_tasks) == sorted(TASKS.values())
    [end] = [recorded.event for recorded in events if isinstance(recorded.event, RunDone)]
    assert end.final_message == "12 steps are settled"


async def test_every_step_is_begun_as_soon_as_what_it_needs_is_done(scene: Any, start: Any, wrong: Any) -> None:
    scene.work["r1"] = _agents
    await start()
    await scene.ask("r1")
    await scene.until_over("r1")
    _check(scene, "r1")
    assert wrong() == []
    order = [recorded.event.step for recorded in scene.of("r1") if isinstance(recorded.event, TaskAssigned)]
    assert set(order[2:9]) == {"left1", *(f"wide{number}" for number in range(6))}  # all in parallel, after the first


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("dies_at", range(1, APPENDS + 1))
async def test_a_death_at_any_append_changes_nothing(
    scene: Any, start: Any, wrong: Any, dies_at: int, stored: bool
) -> None:
    scene.work["r1"] = _agents
    await scene.ask("r1")
    instance = await start(dies_at=dies_at, stored=stored)
    await scene.until_over("r1")
    assert instance.store.count >= dies_at
    _check(scene, "r1")
    assert wrong() == []


async def test_two_orchestrators_carry_out_many_plans_together(scene: Any, start: Any, wrong: Any) -> None:
    run_ids = [f"r{number}" for number in range(12)]
    await start()
    await start()
    for number, run_id in enumerate(run_ids):
        scene.work[run_id] = _agents
        await scene.ask(run_id, f"s{number % 5}")
    await scene.until_over(*run_ids)
    for run_id in run_ids:
        _check(scene, run_id)
    assert wrong() == []
