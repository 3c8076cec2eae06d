"""Tools to have other agents do something: delegate, handoff, plan. They run as tasks of the same run, not here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from syntor.agentkit.tools.tool import Tool, ToolError, ToolRun
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.ids import is_token
from syntor.contracts.request.v1 import ClientTool
from syntor.contracts.task.v1 import PlanProposed, PlanStep
from syntor.directory.agents import queue_of

MAX_STEPS = 50

Find = Callable[[str], Awaitable[AgentProfile]]
"""Finds an agent by id or alias; raises NotFoundError, whose text names those there are."""


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


async def _not_here(run: ToolRun, arguments: Any) -> NoReturn:
    raise ToolError("this is done by another agent")


def _no_paths(arguments: Any) -> list[str]:
    return []


def _shown(workspace: Path, arguments: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(arguments), indent=2).decode()


def _object(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _tool(name: str, description: str, schema: dict[str, Any]) -> Tool:
    return Tool(
        name=name,
        description=description,
        arguments=None,
        schema=schema,
        run=_not_here,
        paths=_no_paths,
        effect="team",
        repeatable=True,
        preview=_shown,
        subject=lambda arguments: str(arguments.get("agent") or arguments.get("summary") or ""),
    )


def client_tool(offered: ClientTool) -> Tool:
    """Return a tool that runs at a client.

    Raises:
        msgspec.DecodeError: its parameters are no JSON; who registered it was told so.
    """
    return Tool(
        name=offered.name,
        description=offered.description,
        arguments=None,
        schema=msgspec.json.decode(offered.parameters, type=dict[str, Any]),
        run=_not_here,
        paths=_no_paths,
        effect="client",
        repeatable=True,
    )


_STEP = _object(
    ["id", "agent", "action"],
    id=_text("Short unique name"),
    agent=_text("Agent that does it"),
    action=_text("What to do, complete in itself: the agent sees nothing else but the results of the steps before"),
    depends_on={"type": "array", "items": {"type": "string"}, "description": "Ids of steps that must be done before"},
)
TEAM_TOOLS = (
    _tool(
        "delegate",
        "Have another agent do something and get its result. Several in one turn run side by side.",
        _object(
            ["agent", "task"],
            agent=_text("Agent id"),
            task=_text("What to do, complete in itself: the agent sees nothing else"),
        ),
    ),
    _tool(
        "handoff",
        "Hand the whole conversation over to an agent that fits better; its answer is the answer.",
        _object(["agent", "task"], agent=_text("Agent id"), task=_text("What the user wants, in full")),
    ),
    _tool(
        "plan",
        "Carry out several steps by several agents; steps that depend on nothing run side by side.",
        _object(
            ["summary", "steps"],
            summary=_text("What the plan is for, one line"),
            steps={"type": "array", "items": _STEP, "maxItems": MAX_STEPS},
        ),
    ),
)


async def find_queue(find: Find, agent: str, allowed: list[str]) -> tuple[str, str]:
    """Return id and queue of an agent to delegate to.

    Args:
        allowed: ids the manifest names; empty: any.

    Raises:
        NotFoundError: there is no such agent.
        ToolError: the manifest does not allow it.
    """
    profile = await find(agent)
    if allowed and profile.agent_id not in allowed:
        raise ToolError(f"this agent may only ask {', '.join(allowed)}, not {profile.agent_id}")
    return profile.agent_id, queue_of(profile)


async def propose(call_id: str, task_id: str, plan: Plan, find: Find, allowed: list[str]) -> PlanProposed:
    """Return a plan with its agents found.

    Raises:
        ToolError: it does not hold together; names the step and the reason.
        NotFoundError: a step names an agent there is none of.
    """
    check_plan(plan)
    steps: list[PlanStep] = []
    for number, step in enumerate(plan.steps, 1):
        agent, queue = await find_queue(find, step.agent, allowed)
        steps.append(
            PlanStep(
                id=step.id,
                agent=agent,
                queue=queue,
                action=step.action,
                depends_on=step.depends_on,
                task_id=f"{task_id}-{call_id}-{number}",
            )
        )
    return PlanProposed(call_id=call_id, summary=plan.summary, steps=steps)


def check_plan(plan: Plan) -> None:
    """Raise ToolError where a plan cannot be carried out: names taken twice, unknown or circular dependencies."""
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
