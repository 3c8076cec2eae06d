"""`syntor admin apply`: makes a NATS server match the declared streams and consumers."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from syntor.cli.output import Format, print_json

admin = typer.Typer(help="Set up streams and consumers on a NATS server.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the group `admin`."""
    app.add_typer(admin, name="admin")


@admin.callback()
def _admin() -> None:
    """Set up streams and consumers on a NATS server."""


@admin.command()
def apply(
    nats_url: Annotated[
        str, typer.Option(envvar="SYNTOR_NATS_URL", help="NATS server; without, that of the running local stack.")
    ] = "",
    output: Annotated[Format, typer.Option("--output", "-o", help="Shape of the output.")] = Format.TEXT,
) -> None:
    """Create or reconcile all streams and consumers; changing nothing when they are right."""
    import asyncio

    from syntor.stack.apply import apply as apply_topology
    from syntor.stack.layout import home_folder
    from syntor.stack.running import running_stack

    running = running_stack(home_folder(os.environ)) if not nats_url else None
    changes = asyncio.run(apply_topology(nats_url or (running.nats_url if running else "nats://127.0.0.1:4222")))
    if output is not Format.TEXT:
        print_json({"changes": changes})
        return
    sys.stdout.write("".join(f"{change}\n" for change in changes) or "nothing to change\n")
