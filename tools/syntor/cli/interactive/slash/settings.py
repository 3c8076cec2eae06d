"""Slash commands about what the session works with: model, permissions, and the folder's instructions."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from syntor.cli.interactive.session import Session, SlashCommand
from syntor.cli.interactive.slash.views import syntor
from syntor.cli.project import configuration
from syntor.contracts.errors import InvalidInputError
from syntor.contracts.visible_text import visible

MEMORY = "AGENTS.md"


def model(session: Session, rest: str) -> None:
    """Use another model in this session, or show which is used."""
    state = session.state
    if rest:
        if not rest.partition("/")[2] or len(rest.split()) != 1:
            raise InvalidInputError(f"/model {rest}: expected provider/name, such as ollama/llama3.2:3b; /models lists")
        state.model = rest
        print(visible(f"the next messages go to {rest}"))
        return
    configured, origin = configuration(ask=False).model_for(state.agent)
    print(visible(f"{state.model} (chosen here)" if state.model else f"{configured} ({origin})"))


def permissions(session: Session, rest: str) -> None:
    """Show the mode and the rules in effect."""
    print(f"mode {session.state.mode}")
    syntor(session, "permissions", "list")


def memory(session: Session, rest: str) -> None:
    """Open the instructions for agents in this folder."""
    path = Path.cwd() / MEMORY
    chosen = configuration(ask=False).cli.editor or os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with session.line_mode():
        subprocess.run([*shlex.split(chosen), str(path)], check=False)
    if path.exists():
        print(visible(str(path)))


COMMANDS = (
    SlashCommand("model", "use another model in this session: provider/name; alone: show it", model),
    SlashCommand("permissions", "show the permission mode and the rules in effect", permissions),
    SlashCommand("memory", f"open {MEMORY} of this folder in the editor", memory),
)
