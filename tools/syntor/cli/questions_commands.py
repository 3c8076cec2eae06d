"""`syntor questions`: list and answer the questions of agents and tools, from any terminal."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from syntor.cli.api import Answer, Api, open_api
from syntor.cli.approval_prompt import can_prompt
from syntor.cli.output import ExitCode, Format, fail, print_json, table
from syntor.cli.question_prompt import QuestionPrompt, chosen, described, open_questions
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.http.v1 import AskedQuestion
from syntor.contracts.visible_text import visible_line
from syntor.contracts.vocabulary import RunStatus

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Run id, its unique beginning or end, or `latest`.")]
QuestionId = Annotated[str, typer.Argument(metavar="[QUESTION]", help="Question id; optional if only one is open.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]
_MAY_WAIT: tuple[RunStatus, ...] = ("paused_waiting_tool", "paused_waiting_approval", "running")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="List and answer questions of agents and tools.", no_args_is_help=True)
    group.command("list")(list_questions)
    group.command("answer")(answer)
    app.add_typer(group, name="questions")


def list_questions(
    run: Annotated[str, typer.Option("--run", help="Only questions of this run, closed ones too.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", help="Number of open runs to look at, 1 to 500.")] = 100,
    output: Output = Format.TEXT,
) -> None:
    """List the open questions of all runs, or all questions of one."""
    api = open_api()
    found = api.questions(api.resolve_run(run)) if run else _open(api, limit)
    if output is not Format.TEXT:
        print_json({"questions": found})
        return
    rows = [(each.run_id, each.question_id, _state(each), each.asked_by, visible_line(each.text, 60)) for each in found]
    print(table(("RUN", "QUESTION", "STATUS", "ASKED BY", "TEXT"), rows) if rows else "no questions")


def answer(
    run_id: RunId,
    question_id: QuestionId = "",
    text: Annotated[str, typer.Option("--text", help="The response, or the number of a choice.")] = "",
    values: Annotated[str, typer.Option("--values", help="Values of the question's form, a JSON object.")] = "",
    decline: Annotated[bool, typer.Option("--decline", help="Decline to respond; --text may say why.")] = False,
) -> None:
    """Answer a question; without options, on a terminal, it is prompted for."""
    api = open_api()
    asked = _find(api, api.resolve_run(run_id), question_id)
    if not (text or values or decline):
        if not can_prompt():
            fail("give --text, --values or --decline", ExitCode.USAGE)
        QuestionPrompt(api).answer(asked.run_id, asked.question_id)
        return
    given: dict[str, Any] | None = None
    if values:
        try:
            given = msgspec.json.decode(values, type=dict[str, Any])
        except UNDECODABLE as exc:
            fail(f"--values: expected a JSON object: {exc}", ExitCode.USAGE)
    response = Answer(declined=decline, text=text if decline else chosen(asked, text), values=given)
    api.answer(asked.run_id, asked.question_id, response)
    print("declined" if decline else "answered")


def _open(api: Api, limit: int) -> list[AskedQuestion]:
    runs = [run.run_id for status in _MAY_WAIT for run in api.runs(limit=limit, status=status).runs]
    return [each for run_id in dict.fromkeys(runs) for each in open_questions(api, run_id)]


def _find(api: Api, run_id: str, question_id: str) -> AskedQuestion:
    found = [each for each in open_questions(api, run_id) if question_id in ("", each.question_id)]
    if not found:
        fail(f"run {run_id} has no open question {question_id}".rstrip(), ExitCode.RUN_FAILED)
    if len(found) > 1:
        listed = "\n".join(f"{each.question_id}  {described(each)}" for each in found)
        fail(f"run {run_id} has {len(found)} open questions; name one:\n{listed}", ExitCode.USAGE)
    return found[0]


def _state(asked: AskedQuestion) -> str:
    if asked.answer is None:
        return "open"
    return "declined" if asked.answer.action == "decline" else "answered"
