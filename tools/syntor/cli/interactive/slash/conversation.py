"""Slash commands about whom the session talks to, in which mode, and its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prompt_toolkit.shortcuts import clear

from syntor.cli.interactive.clipboard import to_clipboard
from syntor.cli.interactive.mentions import attachments, without_escapes
from syntor.cli.interactive.session import Session, SlashCommand
from syntor.cli.output import table
from syntor.contracts.errors import InvalidInputError
from syntor.contracts.run.v1 import Attachment
from syntor.contracts.visible_text import visible

MODE_TEXTS = {
    "ask": "agents read; changing files, running commands and using the network require approval",
    "auto-edit": "agents read and edit files of the workspace; commands and the network require approval",
    "plan": "agents read and present a plan; nothing is changed",
    "auto": "agents act without approval, except for what can destroy work",
}

_KEYS = """@path attaches a file · !command runs here · Alt-Enter or Ctrl-J: new line · Ctrl-G: editor · Ctrl-R: search
Ctrl-O: outputs of tools · Shift-Tab: mode · Ctrl-Z: suspend · Esc cancels the run in progress, and rejects an approval
Lines typed while a run is in progress are sent after it; Up on an empty line takes the last one back."""


def help_(session: Session, rest: str) -> None:
    """List the commands."""
    rows = [(f"/{command.name}", command.help) for command in session.commands]
    for name, custom in sorted(session.custom.items()):
        hint = f" {custom.front.argument_hint}" if custom.front.argument_hint else ""
        rows.append((f"/{name}{hint}", custom.front.description or str(custom.path)))
    print(table(("COMMAND", ""), rows))
    print(f"\n{_KEYS}")


def talk_to(agent: str) -> Callable[[Session, str], None]:
    """Return the command that talks to an agent, with the rest of the line as its first message."""

    def talk(session: Session, rest: str) -> None:
        session.state.agent = agent
        if rest:
            session.send(without_escapes(rest), attachments(rest, Path.cwd()))
        else:
            print(f"now talking to {agent}")

    return talk


def talk_to_any(session: Session, rest: str) -> None:
    """Talk to any agent, by id."""
    if not rest:
        known = ", ".join(each.profile.agent_id for each in session.api.agents().agents)
        print(f"talking to {session.state.agent}; registered agents: {known}")
        return
    session.state.agent = session.api.agent(rest).profile.agent_id
    print(f"now talking to {session.state.agent}")


def plan(session: Session, rest: str) -> None:
    """Plan only, or return to the mode before."""
    mode(session, session.state.mode_before if session.state.mode == "plan" else "plan")


def mode(session: Session, rest: str) -> None:
    """Set the permission mode."""
    session.state.set_mode(rest or session.state.mode)
    print(f"mode {session.state.mode}: {MODE_TEXTS[session.state.mode]}")


def copy(session: Session, rest: str) -> None:
    """Copy a response to the clipboard."""
    if rest and not rest.isdecimal():
        raise InvalidInputError(f"/copy {rest}: expected a number, 1 being the newest response")
    number, responses = int(rest or 1), session.state.responses
    if not 1 <= number <= len(responses):
        raise InvalidInputError(f"/copy {number}: there are {len(responses)} responses to copy")
    print(f"copied {to_clipboard(responses[-number])}")


def attach(session: Session, rest: str) -> None:
    """Attach the newest output of a command or tool to the next message."""
    if not session.outputs:
        raise InvalidInputError("/attach: no command or tool has printed anything yet")
    called, content = session.outputs[-1]
    session.attached.append(Attachment(name=f"output of {called}"[:200], content=content))
    print(visible(f"the output of {called} goes with your next message"))


def clear_(session: Session, rest: str) -> None:
    """Start a new session."""
    session.state.forget_session()
    clear()
    print("(a new session)")


def quit_(session: Session, rest: str) -> None:
    """End the session."""
    session.state.quitting = True


COMMANDS = (
    SlashCommand("help", "list the commands", help_),
    SlashCommand("coordination", "talk to the coordination agent", talk_to("coordination"), ("coord",)),
    SlashCommand("docs", "talk to the documentation agent", talk_to("documentation"), ("documentation",)),
    SlashCommand("git", "talk to the git agent", talk_to("git")),
    SlashCommand("worker", "talk to the general worker", talk_to("worker")),
    SlashCommand("code", "talk to the code worker", talk_to("worker_code")),
    SlashCommand("agent", "talk to any agent, by id", talk_to_any),
    SlashCommand("plan", "plan only, without changes; again: back to the previous mode", plan),
    SlashCommand("mode", "set the permission mode: ask, auto-edit, plan, auto", mode),
    SlashCommand("copy", "copy the last response, or the n-th last, to the clipboard", copy),
    SlashCommand("attach", "attach the newest output of a !command or tool to the next message", attach),
    SlashCommand("clear", "start a new session on a clear screen", clear_),
    SlashCommand("quit", "quit; the session is kept", quit_, ("exit",)),
)
