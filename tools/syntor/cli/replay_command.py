"""`syntor replay`: rebuild and verify read models, show a past state; never calls a model."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syntor.cli.damage import RESTORE, damage_line
from syntor.cli.output import ExitCode, Format, print_json, table
from syntor.contracts.visible_text import visible
from syntor.stack.layout import Layout, home_folder
from syntor.stack.running import ensure_running, running_stack
from syntor.stack.services import NATS, PROJECTOR
from syntor.stack.state import StackState

if TYPE_CHECKING:
    from syntor.replay.command import Report

MAX_SHOWN = 20  # mismatches printed; the total is printed too


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay)


def replay(
    verify: Annotated[
        bool, typer.Option("--verify", help="Verify the log, compare the read models with it, repeat every decision.")
    ] = False,
    until: Annotated[str, typer.Option(help="Show the state at a position or time.")] = "",
    from_: Annotated[str, typer.Option("--from", help="Read an export instead of the log; `-`: standard input.")] = "",
    output: Annotated[Format, typer.Option("--output", "-o", help="text or json.")] = Format.TEXT,
) -> None:
    """Rebuild the read models from the log, verify them, or show a past state. External effects are not repeated."""
    if from_:
        from syntor.replay.command import state_at, verify_file
        from syntor.replay.source import read_file

        source = read_file(from_)
        if until:
            _show_state(asyncio.run(state_at(source, until)), output)
        else:
            _finish(asyncio.run(verify_file(source)), output)
        return
    nats_url, database_url = _addresses(rebuild=not verify and not until)
    if until:
        _show_state(asyncio.run(_until(nats_url, until)), output)
    else:
        _finish(asyncio.run(_replay(nats_url, database_url, verify)), output)


async def _until(nats_url: str, until: str) -> dict[str, Any]:
    from syntor.replay.command import state_at
    from syntor.replay.source import open_log
    from syntor.stack.admin_access import admin_access

    async with open_log(nats_url, admin_access(os.environ)) as source:
        return await state_at(source, until)


async def _replay(nats_url: str, database_url: str, verify: bool) -> Report:
    from syntor.replay.command import rebuild_all, verify_all
    from syntor.replay.source import open_log
    from syntor.stack.admin_access import admin_access

    async with open_log(nats_url, admin_access(os.environ)) as source:
        if verify:
            return await verify_all(source, database_url)
        return await rebuild_all(source, database_url, lambda text: print(f"note: {text}", file=sys.stderr))


def _addresses(*, rebuild: bool = False) -> tuple[str, str]:
    """Return the NATS and database URLs: the environment's, or those of the home folder's stack.

    Args:
        rebuild: the read models are rebuilt; the existing ones must not prevent the start of the stack.
    """
    home = home_folder(os.environ)
    database = os.environ.get("SYNTOR_DATABASE_URL") or f"sqlite:///{Layout(home).database}"
    if url := os.environ.get("SYNTOR_NATS_URL"):
        return url, database
    if rebuild and running_stack(home) is None:
        _remove_read_models(Layout(home).database)
    state = running_stack(home)
    if rebuild and state is not None and _only_lacks_projector(state):
        return state.nats_url, database
    ensure_running(home)
    state = running_stack(home)
    assert state is not None, "ensure_running left a stack running"
    return state.nats_url, database


def _only_lacks_projector(state: StackState) -> bool:
    """Return whether the log can be read and the projector is not ready: a rebuild may be what it needs."""
    states = {service.name: service.state for service in state.services}
    return states.get(NATS) == "ready" and states.get(PROJECTOR.name, "ready") not in ("ready", "stopping")


def _remove_read_models(database: Path) -> None:
    """Remove the local read models: a projector whose checkpoint is ahead of the log refuses to start.

    Anything else at their path is set aside by the projector.
    """
    if not os.environ.get("SYNTOR_DATABASE_URL"):
        for suffix in ("", "-wal", "-shm"):
            path = database.with_name(database.name + suffix)
            if not path.is_dir():
                path.unlink(missing_ok=True)


def _finish(report: Report, output: Format) -> None:
    """Print a report; exit code 7 on a mismatch or a damaged log."""
    if output is not Format.TEXT:
        print_json(report)
    else:
        parts = [f"{report.action} at position {report.position}", f"{report.rows} rows"]
        if report.decisions:
            parts.append(f"{report.events} events, {report.decisions} decisions")
        parts.append(f"{report.duration_s:.2f} s, no model called")
        print("; ".join(parts))
        for damage in report.damage[:MAX_SHOWN]:
            print(damage_line(damage))
        for mismatch in report.mismatches[:MAX_SHOWN]:
            print(f"mismatch at position {mismatch.position}: {mismatch.what}")
            print(visible(f"  expected  {mismatch.expected}\n  found     {mismatch.found}"))
        for event in report.not_applied[:MAX_SHOWN]:
            print(f"not applied at position {event.position}: {event.subject}: {event.cause}")
        if report.not_applied:
            print(f"{len(report.not_applied)} events could not be applied and were left out; see `syntor dlq list`")
    if report.damage:
        sys.stderr.write(f"error: the log is damaged in {len(report.damage)} places; {RESTORE}\n")
        raise SystemExit(int(ExitCode.MISMATCH))
    if report.mismatches:
        sys.stderr.write(f"error: {len(report.mismatches)} mismatches; `syntor replay` rebuilds the read models\n")
        raise SystemExit(int(ExitCode.MISMATCH))


def _show_state(state: dict[str, Any], output: Format) -> None:
    if output is not Format.TEXT:
        print_json(state)
        return
    print(f"state at position {state['position']}\n")
    rows = [(run["run_id"], run["status"], run["agent"], run["input"].strip()[:60]) for run in state["runs"]]
    print(table(("RUN", "STATUS", "AGENT", "INPUT"), rows))
    print(f"\n{len(state['sessions'])} sessions, {len(state['agents'])} agents")
