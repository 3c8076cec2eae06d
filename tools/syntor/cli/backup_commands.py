"""`syntor backup`: create, verify and restore backups of the log and the configuration."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from syntor.cli.output import ExitCode, fail
from syntor.stack.layout import home_folder

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup, such as syntor-2026-11-21.tar.gz.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Create, verify and restore backups.", no_args_is_help=True)
    group.command("create")(create)
    group.command("verify")(verify)
    group.command("restore")(restore)
    app.add_typer(group, name="backup")


def create(
    file: File,
    stop: Annotated[bool, typer.Option("--stop", help="Stop a running stack meanwhile.")] = False,
) -> None:
    """Write a backup of the home folder: log, configuration, agents, commands and token hashes."""
    from syntor.stack import backup
    from syntor.stack.running import ensure_running, running_stack, stop_stack

    home = home_folder(os.environ)
    was_running = stop and running_stack(home) is not None
    if was_running:
        stop_stack(home)
    try:
        manifest = backup.create(home, file, datetime.now(UTC))
    finally:
        if was_running:
            ensure_running(home)
    size = sum(part.size for part in manifest.parts)
    print(f"{file}: {len(manifest.parts)} files, {size / 1e6:.1f} MB before compression")
    print(f"  check it: syntor backup verify {file}")


def verify(file: File) -> None:
    """Check every digest, open the log with a temporary server, and read every event."""
    from syntor.replay.source import open_log
    from syntor.stack import backup
    from syntor.testing.nats_server import NatsServer

    async def count(url: str) -> tuple[int, int, int]:
        async with open_log(url) as source:
            events = 0
            async for batch, _ in source.batches(0, source.last):
                events += len(batch)
            return events, source.last, source.unreadable

    with tempfile.TemporaryDirectory(prefix="syntor-backup-") as folder:
        manifest = backup.unpack(file, Path(folder) / "home")
        (Path(folder) / "nats").mkdir()
        (Path(folder) / "home" / "data" / "nats").rename(Path(folder) / "nats" / "store")
        token = secrets.token_hex()  # other accounts of this machine reach the port
        with NatsServer(Path(folder) / "nats", extra=f'authorization {{ token: "{token}" }}') as server:
            events, last, unreadable = asyncio.run(count(server.url.replace("//", f"//{token}@")))
    print(f"{file}: of {manifest.created_at:%Y-%m-%d %H:%M} UTC, {len(manifest.parts)} files, every digest matches")
    print(f"  {events} events up to position {last} can be read" + (f", {unreadable} cannot" if unreadable else ""))
    if events + unreadable != last:
        fail(f"the log has {last} positions and {events + unreadable} messages", ExitCode.MISMATCH)


def restore(file: File) -> None:
    """Restore a backup into a home folder without a log; the next start rebuilds the read models."""
    from syntor.stack import backup

    home = home_folder(os.environ)
    manifest = backup.restore(file, home)
    print(f"{home} is restored to {manifest.created_at:%Y-%m-%d %H:%M} UTC; start it: syntor up")
