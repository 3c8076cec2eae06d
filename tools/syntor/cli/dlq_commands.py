"""`syntor dlq`: messages that were given up, why, and what to do with them."""

from __future__ import annotations

import os
from typing import Annotated, Any

import msgspec
import typer

from syntor.cli.output import ExitCode, Format, fail, print_json, table
from syntor.cli.runs_commands import asked, guarded
from syntor.contracts.decoding import UNDECODABLE

Number = Annotated[int, typer.Argument(metavar="NUMBER", help="Number in `syntor dlq list`.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Messages that were given up.", no_args_is_help=True)
    group.command("list")(list_letters)
    group.command("show")(show)
    group.command("retry")(retry)
    group.command("drop")(drop)
    app.add_typer(group, name="dlq")


def list_letters(
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many, 1 to 500.")] = 50,
    output: Output = Format.TEXT,
) -> None:
    """List dead letters, newest first."""
    page = asked("/v1/dead_letters", limit=limit)
    if output is not Format.TEXT:
        print_json(page)
        return
    rows = [_row(each) for each in page["letters"]]
    print(table(("NUMBER", "DEAD-LETTERED", "CONSUMER", "SUBJECT", "CAUSE"), rows) if rows else "no dead letters")


def show(number: Number, output: Output = Format.TEXT) -> None:
    """Show one, whole."""
    letter = asked(f"/v1/dead_letters/{number}")
    if output is not Format.TEXT:
        print_json(letter)
        return
    for name in ("subject", "stream", "position", "consumer", "dead_lettered_at", "cause"):
        print(f"{name:<16} {letter[name]}")
    print(f"\n{letter['payload']}")


def retry(number: Number, output: Output = Format.TEXT) -> None:
    """Ask again what the message was about, as a new run, and drop it."""
    from syntor.cli.chat import remember_session
    from syntor.cli.client import open_client
    from syntor.cli.run_view import show_run
    from syntor.stack.layout import home_folder

    client = open_client()
    letter = guarded(lambda: client.get(f"/v1/dead_letters/{number}"))
    run_id = run_of(letter)
    if not run_id:
        fail(f"dead letter {number} belongs to no run", ExitCode.USAGE, f"syntor dlq drop {number}")
    started = guarded(lambda: client.post(f"/v1/runs/{run_id}/retry", {}))
    guarded(lambda: client.delete(f"/v1/dead_letters/{number}"))
    remember_session(home_folder(os.environ), started["session_id"])
    raise SystemExit(show_run(client, started, output).exit_code)


def drop(number: Number) -> None:
    """Remove one; the message it was stays in its stream."""
    from syntor.cli.client import open_client

    client = open_client()
    letter = guarded(lambda: client.delete(f"/v1/dead_letters/{number}"))
    print(f"dropped {number}: {letter['subject']}")


def _row(letter: dict[str, Any]) -> tuple[str, ...]:
    at = letter["dead_lettered_at"][:19].replace("T", " ")
    return str(letter["number"]), at, letter["consumer"], letter["subject"], letter["cause"][:60]


def run_of(letter: dict[str, Any]) -> str:
    """Return the run a dead letter is of; empty: of none."""
    parts = str(letter["subject"]).split(".")
    if len(parts) > 4 and parts[:2] == ["syntor", "events"] and parts[2] in ("run", "task", "output", "request"):
        return parts[3]
    if len(parts) == 5 and parts[:3] == ["syntor", "timers", "due"]:
        return parts[3]
    try:
        return str(msgspec.json.decode(letter["payload"], type=dict[str, Any]).get("runid", ""))
    except UNDECODABLE:
        return ""
