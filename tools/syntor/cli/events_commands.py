"""`syntor events`: the log as it grows."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
import typer

from syntor.cli.output import print_json
from syntor.cli.runs_commands import guarded_events

_DATA_CHARACTERS = 100


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Follow the event log.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command("tail")(tail)
    app.add_typer(group, name="events")


def tail(
    subject: Annotated[str, typer.Option(help="Only subjects that match, such as run.*.run_done.")] = "",
    after: Annotated[int, typer.Option(help="Begin behind this position; by default with what comes.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show events as they come, until Ctrl-C."""
    from syntor.cli.client import open_client

    client = open_client()
    query = urlencode({"subject": subject} if subject else {})
    for event in guarded_events(client.events(f"/v1/events?{query}", after or None)):
        if as_json:
            print_json(event)
        else:
            print(one_line(event), flush=True)


def one_line(event: dict[str, Any]) -> str:
    """Return an event on one line: position, time, type, whose it is, and the beginning of its data."""
    data = msgspec.json.encode(event.get("data") or {}).decode()
    short = data if len(data) <= _DATA_CHARACTERS else data[:_DATA_CHARACTERS] + "..."
    return f"{event['position']:>8}  {event['time'][11:23]}  {event['type']:<22} {event['subject']:<34} {short}"
