"""Slash commands that show something."""

from __future__ import annotations

import subprocess
import sys

from syntor.cli.interactive.session import Session, SlashCommand
from syntor.cli.output import table


def runs(session: Session, rest: str) -> None:
    """Show the newest runs of the session."""
    found = session.api.runs(limit=10, session_id=session.state.session_id).runs
    rows = [(run.run_id, run.status, run.agent, " ".join(run.input.split())[:50]) for run in found]
    print(table(("RUN", "STATUS", "AGENT", "INPUT"), rows) if rows else "no runs yet")


def status(session: Session, rest: str) -> None:
    """Show session, agent and stack."""
    state = session.state
    print(f"agent {state.agent} · session {state.session_id or 'new'} · server {session.api.base_url}")
    syntor(session, "status")


def models(session: Session, rest: str) -> None:
    """Show which agent uses which model."""
    syntor(session, "models", "status")


def config(session: Session, rest: str) -> None:
    """Show the configuration."""
    syntor(session, "config", "show")


def syntor(session: Session, *arguments: str) -> None:
    """Run another `syntor` command on this terminal."""
    with session.line_mode():
        subprocess.run([sys.executable, "-m", "syntor.cli.main", *arguments], check=False)


COMMANDS = (
    SlashCommand("models", "show which agent uses which model", models),
    SlashCommand("status", "show session, agent and stack", status),
    SlashCommand("config", "show the configuration", config),
    SlashCommand("runs", "show the newest runs", runs),
)
