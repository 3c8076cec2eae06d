"""Delegation to other agents: one task, a handoff of the conversation, or a plan of several steps."""

from __future__ import annotations

import msgspec

from syntor.agentkit.domain.task_end import TaskEnd, outcome_text
from syntor.agentkit.domain.tool_error import ToolError
from syntor.contracts.ids import is_token
from syntor.contracts.task.v1 import DelegationRequested, PlanProposed, ToolResult, Wait

MAX_STEPS = 50
PLAN_MODE_TEXT = "Plan mode: nothing is carried out. Show the user this plan as your answer."


class Delegate(msgspec.Struct, frozen=True):
    """Arguments of delegate and of handoff."""

    agent: str
    task: str


class Step(msgspec.Struct, frozen=True):
    """One step of a plan."""

    id: str
    agent: str
    action: str
    depends_on: list[str] = []


class Plan(msgspec.Struct, frozen=True):
    """Arguments of plan."""

    summary: str
    steps: list[Step]


def check_plan(plan: Plan) -> None:
    """Check that a plan can be carried out.

    Raises:
        ToolError: step ids are used twice, or dependencies are unknown or circular; names the step.
    """
    if not 1 <= len(plan.steps) <= MAX_STEPS:
        raise ToolError(f"a plan has 1 to {MAX_STEPS} steps, not {len(plan.steps)}")
    ids = [step.id for step in plan.steps]
    for step in plan.steps:
        if not is_token(step.id) or ids.count(step.id) > 1:
            raise ToolError(f"step id {step.id!r}: use letters, digits, '_' and '-', each id once")
        if unknown := [other for other in step.depends_on if other not in ids]:
            raise ToolError(f"step {step.id} depends on {', '.join(unknown)}: there are {', '.join(ids)}")
    left = {step.id: set(step.depends_on) for step in plan.steps}
    while ready := [name for name, needs in left.items() if not needs]:
        left = {name: needs.difference(ready) for name, needs in left.items() if name not in ready}
    if left:
        raise ToolError(f"steps depend on each other in a circle: {', '.join(left)}")


def delegation_outcome(requested: DelegationRequested, ends: dict[str, TaskEnd]) -> ToolResult | list[Wait]:
    """Return the result of a delegated task, or what the task waits for."""
    end = ends.get(requested.task_id)
    if end is None:
        return [Wait(kind="task", id=requested.task_id)]
    text, failed = outcome_text(end)
    return ToolResult(call_id=requested.call_id, content=text, is_error=failed)


def plan_outcome(plan: PlanProposed, ends: dict[str, TaskEnd]) -> ToolResult | list[Wait]:
    """Return the results of all steps of a plan, or the steps the task waits for."""
    waits = [Wait(kind="task", id=step.task_id) for step in plan.steps if step.task_id not in ends]
    if waits:
        return waits
    outcomes = [(step, *outcome_text(ends[step.task_id])) for step in plan.steps]
    parts = [
        f"## {step.id} ({step.agent}): {'FAILED' if failed else 'done'}\n{text}" for step, text, failed in outcomes
    ]
    return ToolResult(call_id=plan.call_id, content="\n\n".join(parts), is_error=any(failed for *_, failed in outcomes))
