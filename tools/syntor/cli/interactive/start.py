"""Opens an interactive session with all slash commands."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from syntor.cli.api import open_api
from syntor.cli.chat import DEFAULT_AGENT
from syntor.cli.delivery import STOP_DEADLINE_S
from syntor.cli.interactive.loop import Loop
from syntor.cli.interactive.session import Session
from syntor.cli.interactive.slash_commands import COMMANDS
from syntor.cli.output import ExitCode, fail
from syntor.contracts.visible_text import visible
from syntor.stack.layout import home_folder


def run(
    seed: str = "",
    session_id: str = "",
    agent: str = DEFAULT_AGENT,
    model: str = "",
    mode: str = "",
    is_new: bool = False,
) -> int:
    """Run an interactive session until the user quits; return the exit code.

    Args:
        is_new: whether `session_id` is the name of a session to make.
    """
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        option = f" --session {session_id}" if session_id else ""
        fail("an interactive session needs a terminal", ExitCode.USAGE, f"without one: syntor chat{option} TEXT")
    home = home_folder(os.environ)
    session = Session(
        open_api(), home, COMMANDS, agent=agent or DEFAULT_AGENT, session_id=session_id, model=model, mode=mode
    )
    signal.signal(signal.SIGTERM, _on_sigterm)
    loop = Loop(session, home)
    if session_id and not is_new:
        session.show_history()
        session.follow_newest()
    else:
        print(
            f"Syntor · {visible(Path.cwd().name)} · /help lists commands, @ attaches files, Esc cancels, Ctrl-D quits"
        )
    try:
        loop.run(seed)
    except SystemExit:  # SIGTERM; the loop lets no other pass
        loop.deliver_wishes(STOP_DEADLINE_S)
        raise
    all_delivered = loop.deliver_wishes(STOP_DEADLINE_S)
    if session.state.session_id:
        print(f"Continue with: syntor sessions resume {session.state.session_id}")
    return 0 if all_delivered else int(ExitCode.NOT_REACHABLE)


def _on_sigterm(_: int, __: FrameType | None) -> None:
    raise SystemExit(int(ExitCode.TERMINATED))  # runs every `finally`, which restores the terminal's settings
