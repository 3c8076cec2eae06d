"""`syntor` alone, `syntor "text"`, and the options of a session."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from syntor.cli.output import ExitCode, Format, fail


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("interactive", hidden=True)(interactive)


def interactive(
    words: Annotated[list[str] | None, typer.Argument(help="First message.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Model for this session.")] = "",
    session: Annotated[str, typer.Option("--session", help="Continue a session; new:NAME makes one.")] = "",
    continue_: Annotated[bool, typer.Option("--continue", help="Continue the newest session.")] = False,
    mode: Annotated[str, typer.Option("--mode", help="Permission mode: ask, auto-edit, plan or auto.")] = "",
) -> None:
    """Open an interactive session; without a terminal, send the text as one message."""
    from syntor.cli.chat import last_session, send
    from syntor.cli.run_options import RunOptions
    from syntor.stack.layout import home_folder

    seed = " ".join(words or []).strip()
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        options = RunOptions(model=model, session=session, continue_=continue_, mode=mode)
        send("coordination", [seed or "-"], options, Format.TEXT)
        return
    if continue_ and not session:
        session = last_session(home_folder(os.environ))
        if not session:
            fail("there is no session to continue yet", ExitCode.USAGE)
    is_new = False
    if session:
        from syntor.cli.api import NEW_SESSION, open_api

        is_new = session.startswith(NEW_SESSION)
        session = open_api().chosen_session(session)
    from syntor.cli.interactive.start import run

    raise SystemExit(run(seed=seed, session_id=session, model=model, mode=mode, is_new=is_new))
