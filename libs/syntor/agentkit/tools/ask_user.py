"""The tool that asks the user: ask_user. The question waits in the log, for as long as an approval may."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import Meta

from syntor.agentkit.domain.question import Question, Response
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.tool import Tool, ToolRun

ASK_USER = "ask_user"


class AskUser(msgspec.Struct, frozen=True):
    """Arguments of ask_user."""

    question: Annotated[str, Meta(min_length=1, max_length=4000, description="One question, complete in itself")]
    choices: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=500)]],
        Meta(max_length=10, description="Responses to offer, the recommended one first; none: the user writes freely"),
    ] = []
    allow_other: Annotated[bool, Meta(description="Whether the user may write something else than a choice")] = True


async def _not_run_here(run: ToolRun, arguments: Any) -> NoReturn:
    raise ToolError("ask_user waits in the log and does not run in the agent's process")


def question_of(arguments: AskUser, agent: str) -> Question:
    """Return the question a call asks."""
    return Question(
        text=arguments.question, asked_by=agent, choices=list(arguments.choices), other=arguments.allow_other
    )


def result_text(given: Response) -> str:
    """Return what the model is told."""
    if given.expired:
        return "The user did not respond in time. Continue without, and say what you assumed."
    if given.declined:
        return f"The user declined to respond. {given.text}".rstrip()
    return given.text


def is_question(tool: Tool) -> bool:
    """Return whether a tool is ask_user."""
    return tool.arguments is AskUser


ASK_USER_TOOL = Tool(
    name=ASK_USER,
    description="Ask the user one question and wait for the response. Use it when a decision is the user's and a wrong "
    "guess would be costly; not for what the files or your other tools can tell.",
    arguments=AskUser,
    run=_not_run_here,
    paths=lambda arguments: [],
    effect="client",
    repeatable=True,
    subject=lambda arguments: str(arguments.question),
)
