"""`syntor admin apply`: makes a NATS server match the declared users, streams and consumers."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from syntor.cli.output import ExitCode, Format, fail, print_json

admin = typer.Typer(
    help="Set up users, streams and consumers on a NATS server.", no_args_is_help=True, rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    """Add the group `admin`."""
    app.add_typer(admin, name="admin")


@admin.callback()
def _admin() -> None:
    """Set up users, streams and consumers on a NATS server."""


@admin.command()
def apply(
    nats_url: Annotated[
        str, typer.Option(envvar="SYNTOR_NATS_URL", help="NATS server; without, that of the running local stack.")
    ] = "",
    users: Annotated[
        str,
        typer.Option(
            help="Folder for NATS users first: a key for each service that has none, and users.conf for the server."
        ),
    ] = "",
    agent: Annotated[
        list[str] | None, typer.Option(help="One more agent service that gets a user; with --users.")
    ] = None,
    replicas: Annotated[
        str,
        typer.Option(
            envvar="SYNTOR_NATS_REPLICAS",
            help="Copies of each stream: 1, or 3 on a cluster of three; without, as it is. Services must be restarted.",
        ),
    ] = "",
    output: Annotated[Format, typer.Option("--output", "-o", help="Shape of the output.")] = Format.TEXT,
) -> None:
    """Create or reconcile all streams and consumers; changing nothing when they are right."""
    import asyncio

    from syntor.stack.admin_access import admin_access
    from syntor.stack.apply import apply as apply_topology
    from syntor.stack.apply import replicas_wanted
    from syntor.stack.layout import home_folder
    from syntor.stack.running import running_stack

    changes = _write_users(Path(users).absolute(), agent or []) if users else []
    for change in changes if output is Format.TEXT else []:
        sys.stdout.write(f"{change}\n")
    environ = dict(os.environ)
    if nats_url:
        environ |= {"SYNTOR_NATS_URL": nats_url} | ({"SYNTOR_NATS_KEYS": users} if users else {})
    running = running_stack(home_folder(os.environ)) if not nats_url else None
    url = nats_url or (running.nats_url if running else "nats://127.0.0.1:4222")
    applied = asyncio.run(
        apply_topology(url, admin_access(environ), replicas=replicas_wanted({"SYNTOR_NATS_REPLICAS": replicas}))
    )
    if output is not Format.TEXT:
        print_json({"changes": [*changes, *applied]})
        return
    sys.stdout.write("".join(f"{change}\n" for change in applied) or "nothing to change\n")


def _write_users(folder: Path, more: list[str]) -> list[str]:
    from syntor.contracts.ids import is_token
    from syntor.stack.nats_users import LOCAL_AGENTS, write_users

    for name in more:
        if not is_token(name):
            fail(f"--agent {name!r}: expected the id of an agent, a-z, A-Z, 0-9, '_' and '-'", ExitCode.USAGE)
    return write_users(folder, [*LOCAL_AGENTS, *more])
