"""The loop of the interactive session: read a line, execute it, stream the response."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.shortcuts import clear

from syntor.cli.api import Api, Decision, RunRequest, open_api
from syntor.cli.approval_prompt import user
from syntor.cli.chat import DEFAULT_AGENT, remember_session
from syntor.cli.delivery import STOP_DEADLINE_S, Cancellation, new_key, run_id_of
from syntor.cli.interactive.cancel_keys import CancelKeys
from syntor.cli.interactive.clipboard import to_clipboard
from syntor.cli.interactive.completer import SessionCompleter
from syntor.cli.interactive.custom import CustomCommand, load_commands
from syntor.cli.interactive.key_bindings import session_keys
from syntor.cli.interactive.mentions import attachments, without_escapes
from syntor.cli.interactive.parsing import AGENTS, BUILT_IN, Message, Slash, Unknown, parse
from syntor.cli.interactive.run_stream import StreamedRun, stream_run
from syntor.cli.markdown_stream import configured_stream
from syntor.cli.output import ExitCode, fail, table
from syntor.cli.project import configuration, trusted_project
from syntor.cli.run_options import RunOptions, run_request
from syntor.contracts.errors import InvalidInputError, NotReachableError, SyntorError
from syntor.contracts.run.v1 import Attachment
from syntor.contracts.vocabulary import DEFAULT_MODE, MODES
from syntor.runtime.private_files import make_private_folder, private
from syntor.stack.layout import home_folder

_MODE_TEXTS = {
    "ask": "agents read; changing files, running commands and using the network require approval",
    "auto-edit": "agents read and edit files of the workspace; commands and the network require approval",
    "plan": "agents read and present a plan; nothing is changed",
    "auto": "agents act without approval, except for what can destroy work",
}


def run(seed: str = "", session_id: str = "", agent: str = DEFAULT_AGENT, model: str = "", mode: str = "") -> int:
    """Run an interactive session until the user quits; return the exit code."""
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        option = f" --session {session_id}" if session_id else ""
        fail("an interactive session needs a terminal", ExitCode.USAGE, f"without one: syntor chat{option} TEXT")
    home = home_folder(os.environ)
    session = Session(open_api(), home, agent or DEFAULT_AGENT, session_id, model, mode)
    signal.signal(signal.SIGTERM, _on_sigterm)
    if session_id:
        session.show_history()
    else:
        print(f"Syntor · {Path.cwd().name} · /help lists commands, @ attaches files, Esc cancels, Ctrl-D quits")
    try:
        session.loop(seed)
    except SystemExit:  # SIGTERM; `_guarded` lets no other pass
        session.deliver_wishes(STOP_DEADLINE_S)
        raise
    all_delivered = session.deliver_wishes(STOP_DEADLINE_S)
    if session.session_id:
        print(f"Continue with: syntor sessions resume {session.session_id}")
    return 0 if all_delivered else int(ExitCode.NOT_REACHABLE)


class Session:
    """One conversation on one terminal."""

    def __init__(self, api: Api, home: Path, agent: str, session_id: str, model: str, mode: str = "") -> None:
        self.session_id = session_id
        self._api = api
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
        self._responses: list[str] = []
        self._typed = ""
        self._disconnected = False
        self._quitting = False
        self._wishes: list[Cancellation] = []
        """Cancellations the log did not have when their stream ended."""
        self._custom, broken = load_commands(home, trusted_project(home))
        for line in broken:
            sys.stderr.write(f"note: custom command not used: {line}\n")

    def loop(self, seed: str) -> None:
        """Read and execute lines until the user quits."""
        descriptions = BUILT_IN | {name: command.front.description for name, command in self._custom.items()}
        prompt: PromptSession[str] = PromptSession(
            history=self._history(),
            completer=SessionCompleter(descriptions, Path.cwd()),
            complete_while_typing=True,
            complete_in_thread=True,
            enable_history_search=False,
            key_bindings=session_keys(self._next_mode),
            bottom_toolbar=self._toolbar,
            multiline=True,
            prompt_continuation="  ",
        )
        pressed_on_empty = 0
        if seed.strip():
            self._execute_guarded(seed)
        while not self._quitting:
            try:
                typed, self._typed = self._typed, ""
                line = prompt.prompt(f"{self._agent}> ", default=typed).strip()
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
        for message in self._api.messages(self.session_id):
            self._agent = message.agent
            if message.role == "user":
                print(f"{self._agent}> {message.content}")
                continue
            markdown = configured_stream()
            markdown.feed(message.content)
            markdown.close()
            if message.status != "complete":
                print(f"({message.status})")
            self._responses.append(message.content)
        self._guarded(self._follow_newest)

    def _follow_newest(self) -> None:
        newest = self._api.runs(session_id=self.session_id, limit=1).runs
        if newest and newest[0].ended_at is None:
            print("(a run is in progress)")
            self._stream(StreamedRun(newest[0].run_id, lambda: self.session_id))

    def _execute_guarded(self, line: str) -> None:
        self._guarded(lambda: self._execute(line))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Call something; an error is printed, and the session continues."""
        try:
            action()
        except NotReachableError as exc:
            sys.stderr.write(f"error: {exc}\n")
            self._disconnected = True
        except (SyntorError, OSError) as exc:
            sys.stderr.write(f"error: {exc}\n")
        except SystemExit as exc:  # a command ended with a printed error
            if exc.code == ExitCode.TERMINATED:
                raise
        except KeyboardInterrupt:
            pending = [wish for wish in self._wishes if wish.is_pending]
            text = "not stopped yet: trying again while this session is open" if pending else "interrupted"
            sys.stderr.write(f"\n({text})\n")

    def _execute(self, line: str) -> None:
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
                    f"error: unknown command /{name}; {meant} (to send text that begins with a slash, type two)\n"
                )

    def _send_custom(self, command: CustomCommand, rest: str) -> None:
        agent = AGENTS.get(command.front.agent, command.front.agent)
        files = attachments(rest, Path.cwd())  # of what was typed: an @ in the command's own text is text
        self._send(command.fill(without_escapes(rest)), files, agent=agent, model=command.front.model)

    def _send(self, text: str, files: list[Attachment], *, agent: str = "", model: str = "") -> None:
        if self._disconnected:
            self._api, self._disconnected = open_api(), False
        options = RunOptions(model=model or self._model, session=self.session_id, mode=self._mode)
        request = run_request(agent or self._agent, text, options, files)
        for file in files:
            print(f"attached {file.name} ({len(file.content)} characters)")
        key = new_key()
        self._stream(StreamedRun(run_id_of(key), lambda: self._start(request, key)))

    def _start(self, request: RunRequest, key: str) -> str:
        started = self._api.start_run(request, key)
        self.session_id = started.session_id
        self._run_id = started.run_id
        remember_session(self._home, self.session_id)
        return started.session_id

    def _stream(self, run: StreamedRun) -> None:
        keys = CancelKeys(lambda run_id: self._api.cancel_run(run_id, "stopped by the user"))
        try:
            outcome = stream_run(self._api, run, keys)
        except SystemExit:  # SIGTERM: a run without a follower is not carried out either
            keys.cancel(run.run_id)
            raise
        finally:
            self._typed = keys.typed
            if keys.wish is not None and keys.wish.is_pending:
                self._wishes.append(keys.wish)
        self._run_id = outcome.run_id
        self._tokens += outcome.input_tokens + outcome.output_tokens
        self._cost_usd += outcome.cost_usd
        self._used_model = outcome.model or self._used_model
        if outcome.status == "failed":
            sys.stderr.write(f"error: {outcome.error} ({outcome.error_code})\n")
        elif outcome.status == "cancelled":
            print("(cancelled; the output so far is kept)")
        if outcome.result:
            self._responses.append(outcome.result)

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
                self._decide(approved=name == "approve", rest=rest)
            case "quit":
                self._quitting = True
            case "clear":
                self.session_id, self._run_id, self._tokens, self._cost_usd = "", "", 0, 0.0
                clear()
                print("(a new session)")
            case "copy":
                self._copy(rest)
            case "runs":
                runs = self._api.runs(limit=10, session_id=self.session_id).runs
                rows = [(run.run_id, run.status, run.agent, " ".join(run.input.split())[:50]) for run in runs]
                print(table(("RUN", "STATUS", "AGENT", "INPUT"), rows) if rows else "no runs yet")
            case "status":
                print(f"agent {self._agent} · session {self.session_id or 'new'} · server {self._api.base_url}")
                _syntor("status")
            case "models":
                _syntor("models", "status")
            case "config":
                _syntor("config", "show")
            case _:
                print(f"error: /{name} is not available")

    def _talk_to(self, agent: str) -> None:
        if not agent:
            known = ", ".join(each.profile.agent_id for each in self._api.agents().agents)
            print(f"talking to {self._agent}; registered agents: {known}")
            return
        self._agent = self._api.agent(agent).profile.agent_id
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

    def _decide(self, *, approved: bool, rest: str) -> None:
        """Decide a pending approval of this session; `rest` is its id, the reason, or both."""
        pending = self._api.approvals(session_id=self.session_id, status="pending").approvals
        first, _, reason = rest.partition(" ")
        chosen = [each for each in pending if each.approval_id == first]
        if not chosen:
            chosen, reason = pending, rest
        if len(chosen) != 1:
            listed = "".join(f"\n  {each.approval_id}  {each.title}" for each in pending)
            count = f"{len(pending)} approvals are pending; name one{listed}"
            raise InvalidInputError(count if pending else "no approval is pending")
        approval = chosen[0]
        decision = Decision(
            approved=approved,
            content_hash=approval.content_hash,
            decided_by=user(),
            reason="" if approved else reason,
        )
        self._api.decide(approval.run_id, approval.approval_id, decision)
        print(f"{'approved' if approved else 'rejected'}: {approval.title}")
        self._stream(StreamedRun(approval.run_id, lambda: approval.session_id))

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
            raise InvalidInputError(f"/copy {rest}: expected a number, 1 being the newest response")
        number = int(rest or 1)
        if not 1 <= number <= len(self._responses):
            raise InvalidInputError(f"/copy {number}: there are {len(self._responses)} responses to copy")
        print(f"copied {to_clipboard(self._responses[-number])}")

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
    raise SystemExit(int(ExitCode.TERMINATED))  # runs every `finally`, which restores the terminal's settings


def _checked(mode: str) -> str:
    if mode not in MODES:
        raise InvalidInputError(f"mode {mode!r}: expected one of {', '.join(MODES)}")
    return mode


def _syntor(*arguments: str) -> None:
    """Run another `syntor` command on this terminal."""
    subprocess.run([sys.executable, "-m", "syntor.cli.main", *arguments], check=False)
