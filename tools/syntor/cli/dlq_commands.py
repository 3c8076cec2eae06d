"""`syntor dlq`: list, show, retry and drop dead-lettered messages."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import msgspec
import typer

from syntor.cli.api import open_api
from syntor.cli.output import ExitCode, Format, fail, print_json, table
from syntor.contracts import subjects
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import MalformedMessageError
from syntor.contracts.http.v1 import DeadLetter
from syntor.contracts.visible_text import visible

Number = Annotated[int, typer.Argument(metavar="NUMBER", help="Number in `syntor dlq list`.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]


class _RunAttribute(msgspec.Struct, frozen=True):
    runid: str = ""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Dead-lettered messages.", no_args_is_help=True)
    group.command("list")(list_letters)
    group.command("show")(show)
    group.command("retry")(retry)
    group.command("drop")(drop)
    app.add_typer(group, name="dlq")


def list_letters(
    limit: Annotated[int, typer.Option("--limit", "-n", help="Number of dead letters, 1 to 500.")] = 50,
    output: Output = Format.TEXT,
) -> None:
    """List dead letters, newest first."""
    page = open_api().dead_letters(limit=limit)
    if output is not Format.TEXT:
        print_json(page)
        return
    rows = [_row(letter) for letter in page.letters]
    print(table(("NUMBER", "DEAD-LETTERED", "CONSUMER", "SUBJECT", "CAUSE"), rows) if rows else "no dead letters")


def show(number: Number, output: Output = Format.TEXT) -> None:
    """Show one dead letter with its payload."""
    letter = open_api().dead_letter(number)
    if output is not Format.TEXT:
        print_json(letter)
        return
    for name in ("subject", "stream", "position", "consumer", "dead_lettered_at", "cause"):
        print(visible(f"{name:<16} {getattr(letter, name)}"))
    print(visible(f"\n{letter.payload}"))


def retry(number: Number, output: Output = Format.TEXT) -> None:
    """Retry the run of the message as a new run, and drop the dead letter."""
    from syntor.cli.runs_commands import retry_and_show

    api = open_api()
    run_id = run_of(api.dead_letter(number))
    if not run_id:
        fail(f"dead letter {number} belongs to no run", ExitCode.USAGE, f"syntor dlq drop {number}")
    retry_and_show(api, run_id, output, on_started=lambda: api.drop_dead_letter(number))


def drop(number: Number) -> None:
    """Remove one dead letter; the original message stays in its stream."""
    print(f"dropped {number}: {open_api().drop_dead_letter(number).subject}")


def _row(letter: DeadLetter) -> tuple[str, ...]:
    at = letter.dead_lettered_at[:19].replace("T", " ")
    return str(letter.number), at, letter.consumer, letter.subject, letter.cause[:60]


def run_of(letter: DeadLetter) -> str:
    """Return the run a dead letter belongs to; empty: to none."""
    with suppress(MalformedMessageError):  # not an event
        if run_id := subjects.parse_event(letter.subject).run_id:
            return run_id
    with suppress(MalformedMessageError):  # not a timer either
        return subjects.parse_timer_fired(letter.subject)[0]
    with suppress(*UNDECODABLE):  # not an envelope
        return msgspec.json.decode(letter.payload, type=_RunAttribute).runid
    return ""
