"""One conversation on a terminal: what a typed line does, and the table's row for slash commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from syntor.cli.api import Api, RunRequest, open_api
from syntor.cli.chat import remember_session
from syntor.cli.delivery import new_key, run_id_of
from syntor.cli.interactive.custom import CustomCommand, load_commands
from syntor.cli.interactive.mcp_session import prompt_of, prompt_text, read_resource, resources
from syntor.cli.interactive.mentions import attachments, without_escapes
from syntor.cli.interactive.parsing import AGENTS, Message, Shell, Slash, Unknown, parse
from syntor.cli.interactive.run_stream import StreamedRun
from syntor.cli.interactive.shell import run_shell
from syntor.cli.interactive.state import State
from syntor.cli.markdown_stream import configured_stream
from syntor.cli.project import configuration, trusted_project
from syntor.cli.run_options import RunOptions, run_request
from syntor.cli.run_output import Outcome
from syntor.contracts.run.v1 import Attachment
from syntor.contracts.visible_text import visible
from syntor.contracts.vocabulary import DEFAULT_MODE

_KEPT_OUTPUTS = 50  # of tools and commands


class SlashCommand(NamedTuple):
    """One slash command: a row of the table in `slash_commands.py`."""

    name: str
    """What is typed after the slash, in lower case."""
    help: str
    """One line for `/help` and completion."""
    run: Callable[[Session, str], None]
    """Called with the session and the rest of the line; an error it raises is printed, and the session continues."""
    aliases: tuple[str, ...] = ()


def words_of(commands: Iterable[SlashCommand]) -> dict[str, str]:
    """Return the name of the command each word stands for."""
    return {word: command.name for command in commands for word in (command.name, *command.aliases)}


class Session:
    """One conversation on one terminal."""

    def __init__(
        self,
        api: Api,
        home: Path,
        commands: Sequence[SlashCommand],
        *,
        agent: str,
        session_id: str,
        model: str,
        mode: str = "",
    ) -> None:
        self.api = api
        self.commands = commands
        self.descriptions = {command.name: command.help for command in commands}
        """One line for each command that is completed, by name."""
        self._by_name = {command.name: command for command in commands}
        self.state = State(agent=agent, session_id=session_id, model=model)
        self.state.set_mode(mode or configuration(ask=False).permissions.mode or DEFAULT_MODE)
        self._home = home
        self.on_follow: Callable[[StreamedRun], None] = lambda run: None
        """Streams a run; set by the loop that owns the terminal."""
        self.line_mode: Callable[[], AbstractContextManager[None]] = nullcontext
        """Puts the terminal into the state that other programs expect, inside its block; set by the loop."""
        self.outputs: list[tuple[str, str]] = []
        """The newest commands and tool calls, and what they printed."""
        self.attached: list[Attachment] = []
        """Goes with the next message."""
        self._home = home
        self._disconnected = False
        self.custom, broken = load_commands(home, trusted_project(home))
        self.descriptions |= {name: command.front.description for name, command in self.custom.items()}
        for line in broken:
            sys.stderr.write(f"note: custom command not used: {line}\n")

    def show_history(self) -> None:
        """Print the session's messages so far, and follow a run that is still in progress."""
        for message in self.api.messages(self.state.session_id):
            self.state.agent = message.agent
            if message.role == "user":
                print(visible(f"{self.state.agent}> {message.content}"))
                continue
            markdown = configured_stream()
            markdown.feed(message.content)
            markdown.close()
            if message.status != "complete":
                print(f"({message.status})")
            self.state.responses.append(message.content)

    def follow_newest(self) -> None:
        """Follow a run of the session that is in progress."""
        newest = self.api.runs(session_id=self.state.session_id, limit=1).runs
        if newest and newest[0].ended_at is None:
            print("(a run is in progress)")
            self.follow(StreamedRun(newest[0].run_id, lambda: self.state.session_id, of_others=True))

    def execute(self, line: str) -> None:
        """Do what a typed line says; a message is sent and its run streamed."""
        if (prompt := prompt_of(line)) is not None:
            self.send(prompt_text(*prompt), [])
            return
        match parse(line, words_of(self.commands) | {name: name for name in self.custom}):
            case Message(text=text):
                text, found = resources(text, read_resource)
                self.send(without_escapes(text), [*attachments(text, Path.cwd()), *found])
            case Shell(command=command):
                with self.line_mode():
                    self.outputs.append((f"!{command}", run_shell(command)))
                print("(/attach sends this output with your next message)")
            case Slash(name=name, rest=rest):
                if name in self.custom:
                    self._send_custom(self.custom[name], rest)
                else:
                    self._by_name[name].run(self, rest)
            case Unknown(name=name, near=near):
                meant = f"did you mean {' or '.join('/' + each for each in near)}?" if near else "/help lists all"
                sys.stderr.write(
                    f"error: unknown command /{name}; {meant} (to send text that begins with a slash, type two)\n"
                )

    def _send_custom(self, command: CustomCommand, rest: str) -> None:
        agent = AGENTS.get(command.front.agent, command.front.agent)
        files = attachments(rest, Path.cwd())  # of what was typed: an @ in the command's own text is text
        self.send(command.fill(without_escapes(rest)), files, agent=agent, model=command.front.model)

    def send(self, text: str, files: list[Attachment], *, agent: str = "", model: str = "") -> None:
        """Send a message and stream the response; agent and model are the session's unless given."""
        if self._disconnected:
            self.api, self._disconnected = open_api(), False
        options = RunOptions(model=model or self.state.model, session=self.state.session_id, mode=self.state.mode)
        files, self.attached = [*files, *self.attached], []
        request = run_request(agent or self.state.agent, text, options, files)
        for file in files:
            print(f"attached {visible(file.name)} ({len(file.content)} characters)")
        key = new_key()
        self.follow(StreamedRun(run_id_of(key), lambda: self._start(request, key)))

    def _start(self, request: RunRequest, key: str) -> str:
        started = self.api.start_run(request, key)
        self.state.session_id = started.session_id
        self.state.run_id = started.run_id
        remember_session(self._home, self.state.session_id)
        return started.session_id

    def follow(self, run: StreamedRun) -> None:
        """Stream a run while the input line stays usable."""
        self.on_follow(run)

    def note_end(self, outcome: Outcome, outputs: Sequence[tuple[str, str]]) -> None:
        """Take in what a run ended with."""
        state = self.state
        self.outputs = [*self.outputs, *outputs][-_KEPT_OUTPUTS:]
        state.run_id = outcome.run_id
        state.tokens += outcome.input_tokens + outcome.output_tokens
        state.cost_usd += outcome.cost_usd
        state.used_model = outcome.model or state.used_model
        if outcome.result:
            state.responses.append(outcome.result)

    def note_lost(self) -> None:
        """Take in that the server was not reachable: it is looked for again with the next message."""
        self._disconnected = True
