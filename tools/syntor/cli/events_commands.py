"""`syntor events`: follow the log."""

from __future__ import annotations

from typing import Annotated

import typer

from syntor.cli.api import open_api
from syntor.cli.event_line import event_line
from syntor.cli.output import print_event


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Follow the event log.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command("tail")(tail)
    app.add_typer(group, name="events")


def tail(
    subject: Annotated[str, typer.Option(help="Only subjects that match, such as run.*.run_done.")] = "",
    after: Annotated[
        int | None, typer.Option(min=0, help="Start after this position; by default with new events.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show events as they are appended, until Ctrl-C."""
    for event in open_api().follow_log(subject, after):
        if as_json:
            print_event(event.json)
        else:
            print(event_line(event), flush=True)
