"""The loop of the interactive session: read a line, do what it means, show the answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.filters import is_searching
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.shortcuts import clear

from syntor.cli.approving import user
from syntor.cli.chat import DEFAULT_AGENT, remember_session
from syntor.cli.client import ApiClient, ProblemError, open_client
from syntor.cli.interactive.answering import Stopper, answer
from syntor.cli.interactive.clipboard import to_clipboard
from syntor.cli.interactive.completing import SessionCompleter
from syntor.cli.interactive.custom import CustomCommand, load_commands
from syntor.cli.interactive.mentions import attachments, without_escapes
from syntor.cli.interactive.parsing import AGENTS, BUILT_IN, Message, Slash, Unknown, parse
from syntor.cli.markdown_stream import configured_stream
from syntor.cli.output import ExitCode, fail, table
from syntor.cli.project import configuration, trusted_project
from syntor.cli.run_options import RunOptions, request_body
from syntor.contracts.errors import InvalidInputError, NotReachableError, SyntorError
from syntor.contracts.permissions import DEFAULT_MODE, MODES
from syntor.stack.layout import home_folder

_MODE_TEXTS = {
    "ask": "reads; asks before it changes files, runs commands or uses the network",
    "auto-edit": "changes files of the workspace; asks before it runs commands or uses the network",
    "plan": "reads, and presents a plan; changes nothing",
    "auto": "does everything; still asks before what can destroy work",
}


def run(seed: str = "", session_id: str = "", agent: str = DEFAULT_AGENT, model: str = "", mode: str = "") -> int:
    """Open a session and stay in it until it is left; return the exit code."""
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        option = f" --session {session_id}" if session_id else ""
        fail("an interactive session needs a terminal", ExitCode.USAGE, f"without one: syntor chat{option} TEXT")
    home = home_folder(os.environ)
    session = Session(open_client(), home, agent or DEFAULT_AGENT, session_id, model, mode)
    signal.signal(signal.SIGTERM, _on_sigterm)
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

    def __init__(self, client: ApiClient, home: Path, agent: str, session_id: str, model: str, mode: str = "") -> None:
        self.session_id = session_id
        self._client = client
        self._home = home
        self._agent = agent
        self._model = model
        self._mode = _checked(mode) if mode else configuration(ask=False).permissions.mode or DEFAULT_MODE
        self._mode_before = self._mode
        self._run_id = ""
        self._tokens = 0
        self._cost_usd = 0.0
        self._used_model = ""
        self._models: dict[str, str] = {}
        self._answers: list[str] = []
        self._typed = ""
        self._away = False
        self._leaving = False
        self._custom, broken = load_commands(home, trusted_project(home))
        for line in broken:
            sys.stderr.write(f"note: custom command not used: {line}\n")

    def loop(self, seed: str) -> None:
        """Read and do, until it is left."""
        descriptions = BUILT_IN | {name: command.front.description for name, command in self._custom.items()}
        prompt: PromptSession[str] = PromptSession(
            history=self._history(),
            completer=SessionCompleter(descriptions, Path.cwd()),
            complete_while_typing=True,
            complete_in_thread=True,
            enable_history_search=False,
            key_bindings=_keys(self._next_mode),
            bottom_toolbar=self._toolbar,
            multiline=True,
            prompt_continuation="  ",
        )
        pressed_on_empty = 0
        if seed.strip():
            self._do(seed)
        while not self._leaving:
            try:
                typed, self._typed = self._typed, ""
                line = prompt.prompt(f"{self._agent}> ", default=typed).strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                pressed_on_empty += 1
                if pressed_on_empty == 2:
                    return
                print("(press Ctrl-C again, or Ctrl-D, to leave)")
                continue
            pressed_on_empty = 0
            if line:
                self._do(line)

    def _history(self) -> History:
        path = self._home / "history"
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        except OSError as exc:
            sys.stderr.write(f"note: {path} is not kept: {exc.strerror}\n")
            return InMemoryHistory()
        return FileHistory(str(path))

    def show_earlier(self) -> None:
        """Show the session's messages so far, and follow a run that still goes on."""
        from syntor.cli.sessions_commands import all_messages

        for message in all_messages(self.session_id):
            self._agent = message["agent"]
            if message["role"] == "user":
                print(f"{self._agent}> {message['content']}")
                continue
            markdown = configured_stream()
            markdown.feed(message["content"])
            markdown.close()
            if message["status"] != "complete":
                print(f"({message['status']})")
            self._answers.append(message["content"])
        self._guarded(self._follow_newest)

    def _follow_newest(self) -> None:
        newest = self._client.get("/v1/runs", session_id=self.session_id, limit=1)["runs"]
        if newest and newest[0]["ended_at"] is None:
            print("(a run still goes on)")
            self._show(lambda: {"run_id": newest[0]["run_id"], "session_id": self.session_id})

    def _do(self, line: str) -> None:
        self._guarded(lambda: self._mean(line))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do something; what goes wrong is said, and the session goes on."""
        try:
            action()
        except NotReachableError as exc:
            sys.stderr.write(f"error: {exc}\n")
            self._away = True
        except (ProblemError, SyntorError, OSError) as exc:
            sys.stderr.write(f"error: {exc}\n")
        except SystemExit as exc:  # a command ended itself, and said why
            if exc.code == ExitCode.TERMINATED:
                raise
        except KeyboardInterrupt:
            sys.stderr.write("\n(stopped)\n")

    def _mean(self, line: str) -> None:
        match parse(line, self._custom):
            case Message(text=text):
                self._send(without_escapes(text), attachments(text, Path.cwd()))
            case Slash(name=name, rest=rest):
                if name in self._custom:
                    self._send_custom(self._custom[name], rest)
                else:
                    self._command(name, rest)
            case Unknown(name=name, near=near):
                meant = f"did you mean {' or '.join('/' + each for each in near)}?" if near else "/help lists all"
                sys.stderr.write(
                    f"error: unknown command /{name}; {meant} (a text that begins with a slash: type two)\n"
                )

    def _send_custom(self, command: CustomCommand, rest: str) -> None:
        agent = AGENTS.get(command.front.agent, command.front.agent)
        files = attachments(rest, Path.cwd())  # of what was typed: an @ in the command's own text is text
        self._send(command.fill(without_escapes(rest)), files, agent=agent, model=command.front.model)

    def _send(self, text: str, files: list[dict[str, str]], *, agent: str = "", model: str = "") -> None:
        if self._away:
            self._client, self._away = open_client(), False
        options = RunOptions(model=model or self._model, session=self.session_id, mode=self._mode)
        body = request_body(agent or self._agent, text, options)
        for file in files:
            print(f"attached {file['name']} ({len(file['content'])} characters)")
        if files:
            body["attachments"] = files
        self._show(lambda: self._start(body))

    def _start(self, body: dict[str, Any]) -> dict[str, Any]:
        started = self._client.start_run(body)
        self.session_id = started["session_id"]
        self._run_id = started["run_id"]
        remember_session(self._home, self.session_id)
        return started

    def _show(self, start: Callable[[], dict[str, Any]]) -> None:
        stopper = Stopper(self._client.base_url)
        try:
            outcome = answer(self._client, start, stopper)
        finally:
            self._typed = stopper.typed
        self._run_id = outcome.run_id
        self._tokens += outcome.input_tokens + outcome.output_tokens
        self._cost_usd += outcome.cost_usd
        self._used_model = outcome.model or self._used_model
        if outcome.status == "failed":
            sys.stderr.write(f"error: {outcome.error} ({outcome.error_code})\n")
        elif outcome.status == "cancelled":
            print("(stopped; what was said is kept)")
        if outcome.result:
            self._answers.append(outcome.result)

    def _command(self, name: str, rest: str) -> None:
        if name in AGENTS:
            self._agent = AGENTS[name]
            if rest:
                self._send(without_escapes(rest), attachments(rest, Path.cwd()))
            else:
                print(f"now talking to {self._agent}")
            return
        match name:
            case "help":
                print(self._help())
            case "agent":
                self._talk_to(rest)
            case "mode":
                self._change_mode(_checked(rest) if rest else self._mode)
            case "plan":
                self._change_mode(self._mode_before if self._mode == "plan" else "plan")
            case "approve" | "reject":
                self._decide(name, rest)
            case "quit":
                self._leaving = True
            case "clear":
                self.session_id, self._run_id, self._tokens, self._cost_usd = "", "", 0, 0.0
                clear()
                print("(a new session)")
            case "copy":
                self._copy(rest)
            case "runs":
                runs = self._client.get("/v1/runs", limit=10, session_id=self.session_id)["runs"]
                rows = [
                    (each["run_id"], each["status"], each["agent"], " ".join(each["input"].split())[:50])
                    for each in runs
                ]
                print(table(("RUN", "STATUS", "AGENT", "INPUT"), rows) if rows else "no runs yet")
            case "status":
                print(f"agent {self._agent} · session {self.session_id or 'new'} · server {self._client.base_url}")
                _syntor("status")
            case "models":
                _syntor("models", "status")
            case "config":
                _syntor("config", "show")
            case _:
                print(f"error: /{name} is not available")

    def _talk_to(self, agent: str) -> None:
        if not agent:
            known = ", ".join(each["profile"]["agent_id"] for each in self._client.get("/v1/agents")["agents"])
            print(f"talking to {self._agent}; there are {known}")
            return
        self._agent = self._client.get(f"/v1/agents/{agent}")["profile"]["agent_id"]
        print(f"now talking to {self._agent}")

    def _next_mode(self) -> None:
        self._set_mode(MODES[(MODES.index(self._mode) + 1) % len(MODES)])

    def _change_mode(self, mode: str) -> None:
        self._set_mode(mode)
        print(f"mode {self._mode}: {_MODE_TEXTS[self._mode]}")

    def _set_mode(self, mode: str) -> None:
        if self._mode != "plan":
            self._mode_before = self._mode
        self._mode = mode

    def _decide(self, word: str, rest: str) -> None:
        """Answer an approval of this session that waits, as another terminal may."""
        waiting = self._client.get("/v1/approvals", session_id=self.session_id, status="pending")["approvals"]
        first, _, reason = rest.partition(" ")
        chosen = [each for each in waiting if each["approval_id"] == first]
        if not chosen:
            chosen, reason = waiting, rest
        if len(chosen) != 1:
            listed = "".join(f"\n  {each['approval_id']}  {each['title']}" for each in waiting)
            raise InvalidInputError(f"{len(waiting)} approvals wait; name one{listed}" if waiting else "none waits")
        approval = chosen[0]
        path = f"/v1/runs/{approval['run_id']}/approvals/{approval['approval_id']}"
        body = {"approved": word == "approve", "content_hash": approval["content_hash"], "decided_by": user()}
        self._client.post(path, body | ({"reason": reason} if word == "reject" else {}))
        print(f"{word}d: {approval['title']}" if word == "approve" else f"rejected: {approval['title']}")
        self._show(lambda: {"run_id": approval["run_id"], "session_id": approval["session_id"]})

    def _help(self) -> str:
        rows = [(f"/{name}", description) for name, description in BUILT_IN.items()]
        for name, command in sorted(self._custom.items()):
            hint = f" {command.front.argument_hint}" if command.front.argument_hint else ""
            rows.append((f"/{name}{hint}", command.front.description or str(command.path)))
        return (
            table(("COMMAND", ""), rows) + "\n\n@path attaches a file · Alt-Enter or Ctrl-J: new line · Ctrl-R: search"
        )

    def _copy(self, rest: str) -> None:
        if rest and not rest.isdecimal():
            raise InvalidInputError(f"/copy {rest}: expected a number, 1 being the newest answer")
        number = int(rest or 1)
        if not 1 <= number <= len(self._answers):
            raise InvalidInputError(f"/copy {number}: there are {len(self._answers)} answers to copy")
        print(f"copied {to_clipboard(self._answers[-number])}")

    def _configured(self) -> str:
        if self._agent not in self._models:
            self._models[self._agent] = configuration(ask=False).model_for(self._agent)[0]
        return self._models[self._agent]

    def _toolbar(self) -> HTML:
        parts = [
            f"{self._mode} (Shift-Tab)",
            self._agent,
            self._model or self._used_model or self._configured(),
            f"{self._tokens} tokens",
        ]
        if self._cost_usd:
            parts.append(f"${self._cost_usd:.4f}")
        if self._run_id:
            parts.append(f"run {self._run_id}")
        text = " · ".join(part for part in parts if part)
        return HTML("{}").format(text)


def _on_sigterm(_: int, __: FrameType | None) -> None:
    raise SystemExit(int(ExitCode.TERMINATED))  # by the way of every `finally`: the terminal gets its settings back


def _checked(mode: str) -> str:
    if mode not in MODES:
        raise InvalidInputError(f"mode {mode!r}: expected one of {', '.join(MODES)}")
    return mode


def _keys(next_mode: Callable[[], None]) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("s-tab", filter=~is_searching)
    def change_mode(event: KeyPressEvent) -> None:
        next_mode()
        event.app.invalidate()

    @keys.add("enter", filter=~is_searching)
    def send(event: KeyPressEvent) -> None:
        state = event.current_buffer.complete_state
        if state is not None and state.current_completion is not None and not event.current_buffer.text.startswith("/"):
            event.current_buffer.complete_state = None  # takes the file chosen; the message may go on
            event.current_buffer.insert_text(" ")
        else:
            event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=~is_searching)
    @keys.add("c-j", filter=~is_searching)
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c", filter=~is_searching)
    def clear_or_leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")

    del change_mode, send, new_line, clear_or_leave
    return keys


def _syntor(*arguments: str) -> None:
    """Run another command of ours on this terminal."""
    subprocess.run([sys.executable, "-m", "syntor.cli.main", *arguments], check=False)
