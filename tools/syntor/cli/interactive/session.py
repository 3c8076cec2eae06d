"""The loop of the interactive session: read a line, do what it means, show the answer."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from syntor.cli.chat import DEFAULT_AGENT, remember_session, request_body
from syntor.cli.client import ApiClient, ProblemError, open_client
from syntor.cli.interactive.answering import answer
from syntor.cli.interactive.completing import SessionCompleter
from syntor.cli.interactive.custom import CustomCommand, load_commands
from syntor.cli.interactive.parsing import AGENTS, BUILT_IN, Message, Slash, Unknown, attach, parse
from syntor.cli.output import table
from syntor.cli.project import trusted_project
from syntor.contracts.errors import SyntorError
from syntor.stack.layout import home_folder


def run(seed: str = "", session_id: str = "", agent: str = DEFAULT_AGENT, model: str = "") -> int:
    """Open a session and stay in it until it is left; return the exit code."""
    home = home_folder(os.environ)
    session = Session(open_client(), home, agent, session_id, model)
    if session_id:
        session.show_earlier()
    else:
        print(f"Syntor · {Path.cwd().name} · /help lists commands, @ attaches files, Esc stops, Ctrl-D leaves")
    session.loop(seed)
    if session.session_id:
        print(f"Continue with: syntor sessions resume {session.session_id}")
    return 0


class Session:
    """One conversation on one terminal."""

    def __init__(self, client: ApiClient, home: Path, agent: str, session_id: str, model: str) -> None:
        self.session_id = session_id
        self._client = client
        self._home = home
        self._agent = agent
        self._model = model
        self._run_id = ""
        self._tokens = 0
        self._cost_usd = 0.0
        self._used_model = ""
        self._answers: list[str] = []
        self._leaving = False
        self._custom, broken = load_commands(home, trusted_project(home))
        for line in broken:
            sys.stderr.write(f"note: custom command not used: {line}\n")

    def loop(self, seed: str) -> None:
        """Read and do, until it is left."""
        (self._home / "run").mkdir(parents=True, exist_ok=True)
        descriptions = BUILT_IN | {name: command.front.description for name, command in self._custom.items()}
        prompt: PromptSession[str] = PromptSession(
            history=FileHistory(str(self._home / "history")),
            completer=SessionCompleter(descriptions, Path.cwd()),
            complete_while_typing=True,
            enable_history_search=False,
            key_bindings=_keys(),
            bottom_toolbar=self._toolbar,
            multiline=True,
            prompt_continuation="  ",
        )
        pressed_on_empty = 0
        line = seed
        while not self._leaving:
            if not line:
                try:
                    line = prompt.prompt(f"{self._agent}> ").strip()
                    pressed_on_empty = 0
                except EOFError:
                    return
                except KeyboardInterrupt:
                    if prompt.default_buffer.text:
                        continue
                    pressed_on_empty += 1
                    if pressed_on_empty == 2:
                        return
                    print("(press Ctrl-C again, or Ctrl-D, to leave)")
                    continue
            if line:
                self._do(line)
            line = ""

    def show_earlier(self) -> None:
        """Show the session's messages so far, and follow a run that still goes on."""
        from syntor.cli.sessions_commands import all_messages

        for message in all_messages(self.session_id):
            mark = ">" if message["role"] == "user" else ""
            print(f"{mark} {message['content']}\n".lstrip(" "))
            self._agent = message["agent"]
        newest = self._client.get("/v1/runs", session_id=self.session_id, limit=1)["runs"]
        if newest and newest[0]["status"] in ("created", "running"):
            print("(a run still goes on)")
            self._finish({"run_id": newest[0]["run_id"], "session_id": self.session_id})

    def _do(self, line: str) -> None:
        try:
            match parse(line, self._custom):
                case Message(text=text):
                    self._send(text)
                case Slash(name=name, rest=rest):
                    if name in self._custom:
                        self._send_custom(self._custom[name], rest)
                    else:
                        self._command(name, rest)
                case Unknown(name=name, near=near):
                    meant = (
                        f"; did you mean {' or '.join('/' + each for each in near)}?" if near else "; /help lists all"
                    )
                    print(f"error: unknown command /{name}{meant}")
        except ProblemError as exc:
            print(f"error: {exc}")
        except SyntorError as exc:
            print(f"error: {exc}")

    def _send_custom(self, command: CustomCommand, rest: str) -> None:
        agent = AGENTS.get(command.front.agent, command.front.agent) or self._agent
        self._send(command.fill(rest), agent=agent, model=command.front.model)

    def _send(self, text: str, *, agent: str = "", model: str = "") -> None:
        attachments, errors = attach(text, Path.cwd())
        if errors:
            print("\n".join(f"error: {error}" for error in errors))
            return
        for attachment in attachments:
            print(f"attached {attachment['name']} ({len(attachment['content'])} characters)")
        body = request_body(agent or self._agent, text, model=model or self._model, session=self.session_id)
        if attachments:
            body["attachments"] = attachments
        started = self._client.start_run(body)
        self.session_id = started["session_id"]
        remember_session(self._home, self.session_id)
        self._finish(started)

    def _finish(self, started: dict[str, Any]) -> None:
        self._run_id = started["run_id"]
        outcome = answer(self._client, started)
        self._tokens += outcome.input_tokens + outcome.output_tokens
        self._cost_usd += outcome.cost_usd
        self._used_model = outcome.model or self._used_model
        if outcome.status == "failed":
            print(f"error: {outcome.error} ({outcome.error_code})")
        elif outcome.status == "cancelled":
            print("(stopped; what was said is kept)")
        if outcome.result:
            self._answers.append(outcome.result)

    def _command(self, name: str, rest: str) -> None:
        if name in AGENTS:
            self._agent = AGENTS[name]
            if rest:
                self._send(rest)
            else:
                print(f"now talking to {self._agent}")
            return
        match name:
            case "help":
                print(self._help())
            case "quit":
                self._leaving = True
            case "clear":
                self.session_id, self._tokens, self._cost_usd = "", 0, 0.0
                print("\x1b[2J\x1b[H(a new session)")
            case "copy":
                self._copy(rest)
            case "runs":
                runs = self._client.get("/v1/runs", limit=10, session_id=self.session_id)["runs"]
                rows = [(each["run_id"], each["status"], each["agent"], each["input"][:50]) for each in runs]
                print(table(("RUN", "STATUS", "AGENT", "INPUT"), rows))
            case "status":
                print(f"agent {self._agent} · session {self.session_id or 'new'} · server {self._client.base_url}")
                _syntor("status")
            case "models":
                _syntor("models", "status")
            case "config":
                _syntor("config", "show")
            case _:
                print(f"error: /{name} is not available")

    def _help(self) -> str:
        rows = [(f"/{name}", description) for name, description in BUILT_IN.items()]
        for name, command in sorted(self._custom.items()):
            hint = f" {command.front.argument_hint}" if command.front.argument_hint else ""
            rows.append((f"/{name}{hint}", command.front.description or str(command.path)))
        return (
            table(("COMMAND", ""), rows) + "\n\n@path attaches a file · Alt-Enter or Ctrl-J: new line · Ctrl-R: search"
        )

    def _copy(self, rest: str) -> None:
        number = int(rest) if rest.isdecimal() else 1
        if not 1 <= number <= len(self._answers):
            print(f"error: there are {len(self._answers)} answers to copy")
            return
        data = base64.b64encode(self._answers[-number].encode()).decode()
        sys.stdout.write(f"\x1b]52;c;{data}\x07")  # OSC 52: the terminal's clipboard, also over SSH
        print("copied")

    def _toolbar(self) -> HTML:
        parts = [self._agent, self._model or self._used_model, f"{self._tokens} tokens"]
        if self._cost_usd:
            parts.append(f"${self._cost_usd:.4f}")
        if self._run_id:
            parts.append(f"run {self._run_id}")
        text = " · ".join(part for part in parts if part)
        return HTML("{}").format(text)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    def clear_or_leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")

    del send, new_line, clear_or_leave
    return keys


def _syntor(*arguments: str) -> None:
    """Run another command of ours on this terminal."""
    subprocess.run([sys.executable, "-m", "syntor.cli.main", *arguments], check=False)
