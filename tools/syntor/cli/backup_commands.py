"""`syntor backup`: create, verify and restore backups of the log and the configuration."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syntor.cli.damage import damage_line
from syntor.cli.output import ExitCode, fail
from syntor.stack.layout import home_folder

if TYPE_CHECKING:
    from syntor.eventsourcing.verification import LogVerifier

MAX_SHOWN = 20  # of the damaged places; the total is printed too

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
    """Check every digest, open the log with a temporary server, and verify every event."""
    from syntor.replay.integrity import verify_log
    from syntor.replay.source import open_log
    from syntor.stack import backup, seal
    from syntor.testing.nats_server import NatsServer

    async def verified(url: str) -> LogVerifier:
        async with open_log(url) as source:
            return await verify_log(source)

    with tempfile.TemporaryDirectory(prefix="syntor-backup-") as folder:
        manifest = backup.unpack(file, Path(folder) / "home")
        sealed = seal.changed(Path(folder) / "home" / "data" / "nats")
        if sealed:
            fail(f"{file}: {'; '.join(each.text for each in sealed)}; use an older backup", ExitCode.MISMATCH)
        (Path(folder) / "nats").mkdir()
        (Path(folder) / "home" / "data" / "nats").rename(Path(folder) / "nats" / "store")
        token = secrets.token_hex()  # other accounts of this machine reach the port
        with NatsServer(Path(folder) / "nats", extra=f'authorization {{ token: "{token}" }}') as server:
            log = asyncio.run(verified(server.url.replace("//", f"//{token}@")))
    print(f"{file}: of {manifest.created_at:%Y-%m-%d %H:%M} UTC, {len(manifest.parts)} files, every digest matches")
    unreadable = f", {log.unreadable} of them unreadable" if log.unreadable else ""
    print(
        f"  {log.events} events up to position {log.position}{unreadable}; checked up to {log.covered} by checkpoints"
    )
    if log.damage:
        for damage in log.damage[:MAX_SHOWN]:
            print(damage_line(damage))
        fail(f"the log in it is damaged in {len(log.damage)} places; use an older backup", ExitCode.MISMATCH)


def restore(file: File) -> None:
    """Restore a backup into a home folder without a log; the next start rebuilds the read models."""
    from syntor.stack import backup

    home = home_folder(os.environ)
    manifest = backup.restore(file, home)
    print(f"{home} is restored to {manifest.created_at:%Y-%m-%d %H:%M} UTC; start it: syntor up")
