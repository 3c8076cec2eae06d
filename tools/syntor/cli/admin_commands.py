"""`syntor admin apply`: applies the declared users, streams and consumers to a NATS server."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from syntor.cli.output import ExitCode, Format, fail, print_json
from syntor.contracts.errors import NotReachableError

admin = typer.Typer(
    help="Apply users, streams and consumers to a NATS server.", no_args_is_help=True, rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    """Add the group `admin`."""
    app.add_typer(admin, name="admin")


@admin.callback()
def _admin() -> None:
    """Apply users, streams and consumers to a NATS server."""


@admin.command()
def apply(
    nats_url: Annotated[
        str, typer.Option(envvar="SYNTOR_NATS_URL", help="NATS server; default: that of the running local stack.")
    ] = "",
    users: Annotated[
        str,
        typer.Option(help="Also create NATS users in this folder: missing keys, and users.conf for the server."),
    ] = "",
    agent: Annotated[
        list[str] | None, typer.Option(help="Additional agent service that gets a user; with --users.")
    ] = None,
    replicas: Annotated[
        str,
        typer.Option(
            envvar="SYNTOR_NATS_REPLICAS",
            help="Replicas of each stream, 3 on a cluster of three; default: unchanged. Restart the services after it.",
        ),
    ] = "",
    output: Annotated[Format, typer.Option("--output", "-o", help="text or json.")] = Format.TEXT,
) -> None:
    """Create or reconcile all streams and consumers; without a difference nothing is changed."""
    changes = _write_users(Path(users).absolute(), agent or []) if users else []
    for change in changes if output is Format.TEXT else []:
        sys.stdout.write(f"{change}\n")
    try:
        applied = _apply_topology(nats_url, users, replicas)
    except NotReachableError as exc:
        if not changes:
            raise
        # the server comes after its users: it includes their configuration
        advice = (
            f"include {Path(users).absolute() / 'users.conf'} in its configuration, start it, and repeat this command"
        )
        if output is Format.TEXT:
            sys.stdout.write(f"no streams yet: {exc}\nnext: {advice}\n")
        else:
            print_json({"changes": changes, "next": advice})
        return
    if output is not Format.TEXT:
        print_json({"changes": [*changes, *applied]})
        return
    sys.stdout.write("".join(f"{change}\n" for change in applied) or "nothing to change\n")


def _apply_topology(nats_url: str, keys: str, replicas: str) -> list[str]:
    import asyncio

    from syntor.stack.admin_access import admin_access
    from syntor.stack.apply import apply as apply_topology
    from syntor.stack.apply import replicas_wanted
    from syntor.stack.layout import home_folder
    from syntor.stack.running import running_stack

    environ = dict(os.environ)
    if nats_url:
        environ |= {"SYNTOR_NATS_URL": nats_url} | ({"SYNTOR_NATS_KEYS": keys} if keys else {})
    running = running_stack(home_folder(os.environ)) if not nats_url else None
    url = nats_url or (running.nats_url if running else "nats://127.0.0.1:4222")
    wanted = replicas_wanted({"SYNTOR_NATS_REPLICAS": replicas})
    return asyncio.run(apply_topology(url, admin_access(environ), replicas=wanted))


def _write_users(folder: Path, more: list[str]) -> list[str]:
    from syntor.contracts.ids import is_token
    from syntor.stack.nats_users import LOCAL_AGENTS, write_users

    for name in more:
        if not is_token(name):
            fail(f"--agent {name!r}: expected the id of an agent, a-z, A-Z, 0-9, '_' and '-'", ExitCode.USAGE)
    return write_users(folder, [*LOCAL_AGENTS, *more])
