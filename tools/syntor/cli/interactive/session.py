"""The loop of the interactive session: read a line, execute it, stream the response."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from syntor.cli.api import Api, RunRequest, open_api
from syntor.cli.chat import remember_session
from syntor.cli.delivery import Cancellation, new_key, run_id_of
from syntor.cli.interactive.cancel_keys import CancelKeys
from syntor.cli.interactive.completer import SessionCompleter
from syntor.cli.interactive.custom import CustomCommand, load_commands
from syntor.cli.interactive.key_bindings import session_keys
from syntor.cli.interactive.mcp_session import prompt_of, prompt_text, read_resource, resources
from syntor.cli.interactive.mentions import attachments, without_escapes
from syntor.cli.interactive.parsing import AGENTS, Message, Slash, Unknown, parse
from syntor.cli.interactive.run_stream import StreamedRun, stream_run
from syntor.cli.interactive.state import State
from syntor.cli.markdown_stream import configured_stream
from syntor.cli.output import ExitCode
from syntor.cli.project import configuration, trusted_project
from syntor.cli.run_options import RunOptions, run_request
from syntor.contracts.errors import NotReachableError, SyntorError
from syntor.contracts.run.v1 import Attachment
from syntor.contracts.visible_text import visible
from syntor.contracts.vocabulary import DEFAULT_MODE
from syntor.runtime.private_files import make_private_folder, private


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
        self._models: dict[str, str] = {}
        self._typed = ""
        self._disconnected = False
        self._wishes: list[Cancellation] = []
        """Cancellations the log did not have when their stream ended."""
        self.custom, broken = load_commands(home, trusted_project(home))
        for line in broken:
            sys.stderr.write(f"note: custom command not used: {line}\n")

    def loop(self, seed: str) -> None:
        """Read and execute lines until the user quits."""
        self.descriptions |= {name: command.front.description for name, command in self.custom.items()}
        prompt: PromptSession[str] = PromptSession(
            history=self._history(),
            completer=SessionCompleter(self.descriptions, Path.cwd()),
            complete_while_typing=True,
            complete_in_thread=True,
            enable_history_search=False,
            key_bindings=session_keys(self.state.next_mode),
            bottom_toolbar=self._toolbar,
            multiline=True,
            prompt_continuation="  ",
        )
        pressed_on_empty = 0
        if seed.strip():
            self._execute_guarded(seed)
        while not self.state.quitting:
            try:
                typed, self._typed = self._typed, ""
                line = prompt.prompt(f"{self.state.agent}> ", default=typed).strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                pressed_on_empty += 1
                if pressed_on_empty == 2:
                    return
                print("(press Ctrl-C again, or Ctrl-D, to quit)")
                continue
            pressed_on_empty = 0
            if line:
                self._execute_guarded(line)

    def deliver_wishes(self, deadline_s: float) -> bool:
        """Wait until the log has all cancellations; return False, and print which it does not have, at the deadline."""
        end = time.monotonic() + deadline_s
        for wish in self._wishes:
            wish.wait(max(end - time.monotonic(), 0.0))
        left = [wish for wish in self._wishes if wish.is_pending]
        for wish in left:
            sys.stderr.write(f"error: {wish.not_stopped()}\n")
        return not left

    def _history(self) -> History:
        path = self._home / "history"
        try:
            make_private_folder(self._home)
            open(path, "a", opener=private).close()
        except OSError as exc:
            sys.stderr.write(f"note: {path} is not kept: {exc.strerror}\n")
            return InMemoryHistory()
        return FileHistory(str(path))

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
        self._guarded(self._follow_newest)

    def _follow_newest(self) -> None:
        newest = self.api.runs(session_id=self.state.session_id, limit=1).runs
        if newest and newest[0].ended_at is None:
            print("(a run is in progress)")
            self.follow(StreamedRun(newest[0].run_id, lambda: self.state.session_id))

    def _execute_guarded(self, line: str) -> None:
        self._guarded(lambda: self._execute(line))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Call something; an error is printed, and the session continues."""
        try:
            action()
        except NotReachableError as exc:
            sys.stderr.write(f"error: {visible(str(exc))}\n")
            self._disconnected = True
        except (SyntorError, OSError) as exc:
            sys.stderr.write(f"error: {visible(str(exc))}\n")
        except SystemExit as exc:  # a command ended with a printed error
            if exc.code == ExitCode.TERMINATED:
                raise
        except KeyboardInterrupt:
            pending = [wish for wish in self._wishes if wish.is_pending]
            text = "not stopped yet: trying again while this session is open" if pending else "interrupted"
            sys.stderr.write(f"\n({text})\n")

    def _execute(self, line: str) -> None:
        if (prompt := prompt_of(line)) is not None:
            self.send(prompt_text(*prompt), [])
            return
        match parse(line, words_of(self.commands) | {name: name for name in self.custom}):
            case Message(text=text):
                text, found = resources(text, read_resource)
                self.send(without_escapes(text), [*attachments(text, Path.cwd()), *found])
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
        request = run_request(agent or self.state.agent, text, options, files)
        for file in files:
            print(f"attached {file.name} ({len(file.content)} characters)")
        key = new_key()
        self.follow(StreamedRun(run_id_of(key), lambda: self._start(request, key)))

    def _start(self, request: RunRequest, key: str) -> str:
        started = self.api.start_run(request, key)
        self.state.session_id = started.session_id
        self.state.run_id = started.run_id
        remember_session(self._home, self.state.session_id)
        return started.session_id

    def follow(self, run: StreamedRun) -> None:
        """Stream a run to its end."""
        keys = CancelKeys(lambda run_id: self.api.cancel_run(run_id, "stopped by the user"))
        try:
            outcome = stream_run(self.api, run, keys)
        except SystemExit:  # SIGTERM: a run without a follower is not carried out either
            keys.cancel(run.run_id)
            raise
        finally:
            self._typed = keys.typed
            if keys.wish is not None and keys.wish.is_pending:
                self._wishes.append(keys.wish)
        self.state.run_id = outcome.run_id
        self.state.tokens += outcome.input_tokens + outcome.output_tokens
        self.state.cost_usd += outcome.cost_usd
        self.state.used_model = outcome.model or self.state.used_model
        if outcome.status == "failed":
            sys.stderr.write(f"error: {visible(outcome.error)} ({outcome.error_code})\n")
        elif outcome.status == "cancelled":
            print("(cancelled; the output so far is kept)")
        if outcome.result:
            self.state.responses.append(outcome.result)

    def _configured(self) -> str:
        if self.state.agent not in self._models:
            self._models[self.state.agent] = configuration(ask=False).model_for(self.state.agent)[0]
        return self._models[self.state.agent]

    def _toolbar(self) -> HTML:
        parts = [
            f"{self.state.mode} (Shift-Tab)",
            self.state.agent,
            self.state.model or self.state.used_model or self._configured(),
            f"{self.state.tokens} tokens",
        ]
        if self.state.cost_usd:
            parts.append(f"${self.state.cost_usd:.4f}")
        if self.state.run_id:
            parts.append(f"run {self.state.run_id}")
        text = " · ".join(part for part in parts if part)
        return HTML("{}").format(visible(text))
