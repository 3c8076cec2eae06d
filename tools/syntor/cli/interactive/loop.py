"""Owns the terminal of an interactive session: one input line that stays usable while a run is followed above it."""

from __future__ import annotations

import os
import pydoc
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import HTML, FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style

from syntor.cli.approval_prompt import ApprovalPrompt
from syntor.cli.delivery import Cancellation
from syntor.cli.interactive.completer import SessionCompleter
from syntor.cli.interactive.key_bindings import session_keys
from syntor.cli.interactive.key_input import KeyInput, QuietTerminal
from syntor.cli.interactive.live_view import Size, live_view
from syntor.cli.interactive.notification import notify
from syntor.cli.interactive.run_stream import StreamedRun, Turn
from syntor.cli.interactive.session import Session
from syntor.cli.interactive.session_watch import SessionWatch
from syntor.cli.markdown_stream import configured_stream
from syntor.cli.output import ExitCode
from syntor.cli.project import configuration
from syntor.cli.question_prompt import QuestionPrompt
from syntor.cli.run_text import RunText
from syntor.cli.terminal_style import has_colour
from syntor.contracts.errors import NotReachableError, SyntorError
from syntor.contracts.visible_text import visible
from syntor.runtime.private_files import make_private_folder, private

if TYPE_CHECKING:
    from prompt_toolkit.application import Application

_REFRESH_S = 0.25  # of what stands above the input line


class Loop:
    """Reads lines, has the session execute them, and attends to the run in progress."""

    def __init__(self, session: Session, home: Path) -> None:
        self._terminal = QuietTerminal()
        session.on_follow = self._follow
        session.line_mode = self._terminal.line_mode
        self._session = session
        self._home = home
        self._approvals, self._questions = ApprovalPrompt(session.api), QuestionPrompt(session.api)
        self._models: dict[str, str] = {}
        self._typed = ""
        self._turn: Turn | None = None
        """The run in progress."""
        self._wish: Cancellation | None = None
        """The cancellation of the run in progress."""
        self._wishes: list[Cancellation] = []
        """All cancellations; the log may not have them yet."""
        self._patched = ExitStack()
        """Output of threads goes above the input line while it is open."""
        self._app: Application[str | None] | None = None
        self._queue: list[str] = []
        """Lines to execute, the oldest first."""
        self._own: set[str] = set()
        """Runs that were followed here."""
        self._others: list[str] = []
        """Runs of this session that other terminals started."""
        self._watch = SessionWatch(session.api, self._on_turn)

    def _on_turn(self, run_id: str) -> None:
        """Have a run of another terminal followed; called by the watch's thread."""
        if run_id not in self._own:
            self._own.add(run_id)
            self._others.append(run_id)
            self._wake()

    def run(self, seed: str) -> None:
        """Read and execute lines until the user quits; while a run is in progress, lines are queued."""
        prompt = self._prompt()
        if seed.strip():
            self._queue.append(seed)
        pressed_on_empty = 0
        try:
            while not self._session.state.quitting or self._turn is not None:
                self._watch.watch(self._session.state.session_id)
                if self._turn is not None:
                    self._guarded(self._attend)
                elif self._others and not self._queue:
                    self._follow(
                        StreamedRun(self._others.pop(0), lambda: self._session.state.session_id, of_others=True)
                    )
                if self._turn is None and self._queue:
                    self._guarded(self._execute_next)
                    continue
                try:
                    line = self._read(prompt)
                except EOFError:
                    if self._turn is None:
                        return
                    print("(a run is in progress; Esc cancels it)")
                    continue
                except KeyboardInterrupt:
                    if self._turn is not None:
                        self._guarded(self._leave)
                    elif pressed_on_empty:
                        return
                    else:
                        pressed_on_empty = 1
                        print("(press Ctrl-C again, or Ctrl-D, to quit)")
                    continue
                pressed_on_empty = 0
                if line is not None and line.strip():
                    self._queue.append(line.strip())
        except SystemExit:  # SIGTERM: a run without a follower is not carried out either
            self.cancel()
            raise
        finally:
            self._end_turn()
            self._terminal.restore()

    def _prompt(self) -> PromptSession[str | None]:
        chosen = configuration(ask=False).cli
        if chosen.editor:
            os.environ.setdefault("VISUAL", chosen.editor)
        prompt: PromptSession[str | None] = PromptSession(
            input=KeyInput(),
            history=self._history(),
            completer=SessionCompleter(self._session.descriptions, Path.cwd()),
            complete_while_typing=True,
            complete_in_thread=True,
            enable_history_search=False,
            enable_suspend=True,
            erase_when_done=True,
            vi_mode=chosen.keys == "vi",
            key_bindings=session_keys(self),
            bottom_toolbar=self._toolbar,
            style=Style.from_dict({"dim": "#888888" if has_colour() else "", "status": "bold"}),
            multiline=True,
            prompt_continuation="  ",
        )
        prompt.app.ttimeoutlen = 0.1  # seconds: the rest of an arrow key's sequence arrives immediately
        prompt.app.timeoutlen = 0.3
        return prompt

    def _read(self, prompt: PromptSession[str | None]) -> str | None:
        """Return the next line, or None when there is something else to do; what was typed so far is kept."""
        self._app = prompt.app
        self._terminal.quiet()
        typed, self._typed = self._typed, ""
        try:
            line = prompt.prompt(
                self._message,
                default=typed,
                refresh_interval=_REFRESH_S if self._turn is not None else 0.0,
                pre_run=self._interrupt_prompt,
            )
        finally:
            self._app = None
        if line is None:
            self._typed = prompt.default_buffer.text
        return line

    def _wake(self) -> None:
        """Have the loop attend to the run; called by its thread."""
        app = self._app
        if app is not None and app.loop is not None:
            app.loop.call_soon_threadsafe(self._interrupt_prompt)

    def _interrupt_prompt(self) -> None:
        turn, app = self._turn, self._app
        due = self._others if turn is None else turn.is_done or turn.prompt is not None
        if due and app is not None and app.is_running and not app.is_done:
            app.exit(result=None)

    def _attend(self) -> None:
        """Do what the run in progress waits for: prompt for a decision, or note its end."""
        turn = self._turn
        assert turn is not None
        if turn.is_done:
            self._finish(turn)
        elif (asked := turn.prompt) is not None:
            try:
                if asked.kind == "approval":
                    self._approvals.decide(turn.run.run_id, asked.id)
                else:
                    with self._terminal.line_mode():
                        self._questions.answer(turn.run.run_id, asked.id)
            except KeyboardInterrupt:
                sys.stderr.write("\n")
                self.cancel()
            finally:
                turn.prompt_closed()

    def _leave(self) -> None:
        """Wait no more for a run whose cancellation the log does not have yet."""
        assert self._turn is not None
        self._turn.abandon()
        self._end_turn()
        raise KeyboardInterrupt

    def _end_turn(self) -> None:
        turn, self._turn, self._wish = self._turn, None, None
        if turn is not None:
            if turn.is_done:
                turn.join()
            else:
                turn.abandon()
            self._patched.close()

    def _finish(self, turn: Turn) -> None:
        self._end_turn()
        if turn.error is not None:
            raise turn.error
        outcome = turn.outcome
        self._session.note_end(outcome, turn.text.outputs)
        if outcome.status == "failed":
            sys.stderr.write(f"error: {visible(outcome.error)} ({outcome.error_code})\n")
        elif outcome.status == "cancelled":
            print("(cancelled; the output so far is kept)")
        notify(configuration(ask=False).cli.notify, time.monotonic() - turn.progress.began, "Syntor: the run has ended")

    @property
    def is_busy(self) -> bool:
        """Whether a run is in progress."""
        return self._turn is not None

    def next_mode(self) -> None:
        """Change to the next permission mode."""
        self._session.state.next_mode()

    def cancel(self) -> bool:
        """Request that the run in progress is cancelled; return whether that was requested before."""
        turn = self._turn
        if turn is None or self._wish is not None:
            return True
        self._wish = Cancellation(
            lambda run_id: self._session.api.cancel_run(run_id, "stopped by the user"),
            turn.run.run_id,
            may_be_late=not turn.is_started,
            on_change=_report,
        )
        self._wishes.append(self._wish)
        return False

    def take_back(self) -> str | None:
        """Return the message that was queued last, and queue it no more."""
        return self._queue.pop() if self._queue else None

    def show_outputs(self) -> None:
        """Show what tools printed, the newest first, in a pager."""
        found = [*self._session.outputs, *(self._turn.text.outputs if self._turn is not None else [])]
        text = "\n\n".join(f"{called}\n{content}" for called, content in reversed(found))
        pydoc.pager(visible(text or "no tool has printed anything yet"))

    def _message(self) -> FormattedText:
        lines: list[tuple[str, str]] = []
        if self._turn is not None:
            columns, rows = shutil.get_terminal_size()
            lines = live_view(
                self._turn.progress,
                now=time.monotonic(),
                size=Size(columns, rows),
                open_text=self._turn.open_text,
                queued=self._queue,
                note=self._watch.why_waiting(self._turn.run.run_id),
            )
        return FormattedText([*lines, ("", f"{visible(self._session.state.agent)}> ")])

    def _session_id(self) -> str:
        return self._session.state.session_id

    def _execute_next(self) -> None:
        line = self._queue.pop(0)
        print(visible(f"{self._session.state.agent}> {line}"))
        self._session.execute(line)

    def _follow(self, run: StreamedRun) -> None:
        """Follow a run from now on."""
        self._own.add(run.run_id)
        self._patched.enter_context(patch_stdout(raw=True))
        markdown = configured_stream(redraw=False)  # on the patched output
        text = RunText(markdown, status=False, of_others=run.of_others)
        self._turn = Turn(self._session.api, run, text, markdown, self._wake)
        self._turn.start()

    def _guarded(self, action: Callable[[], None]) -> None:
        """Call something; an error is printed, and the session continues."""
        try:
            action()
        except NotReachableError as exc:
            sys.stderr.write(f"error: {visible(str(exc))}\n")
            self._session.note_lost()
        except (SyntorError, OSError) as exc:
            sys.stderr.write(f"error: {visible(str(exc))}\n")
        except SystemExit as exc:  # a command ended with a printed error
            if exc.code == ExitCode.TERMINATED:
                raise
        except KeyboardInterrupt:
            pending = [wish for wish in self._wishes if wish.is_pending]
            text = "not stopped yet: trying again while this session is open" if pending else "interrupted"
            sys.stderr.write(f"\n({text})\n")

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

    def _configured(self) -> str:
        if self._session.state.agent not in self._models:
            self._models[self._session.state.agent] = configuration(ask=False).model_for(self._session.state.agent)[0]
        return self._models[self._session.state.agent]

    def _toolbar(self) -> HTML:
        parts = [
            f"{self._session.state.mode} (Shift-Tab)",
            self._session.state.agent,
            self._session.state.model or self._session.state.used_model or self._configured(),
            f"{self._session.state.tokens} tokens",
        ]
        if self._session.state.cost_usd:
            parts.append(f"${self._session.state.cost_usd:.4f}")
        if self._session.state.run_id:
            parts.append(f"run {self._session.state.run_id}")
        return HTML("{}").format(visible(whole_parts(parts, shutil.get_terminal_size().columns)))


def whole_parts(parts: Sequence[str], columns: int) -> str:
    """Return as many of the parts as fit on a line, from the first on; none is cut."""
    shown = ""
    for part in filter(None, parts):
        longer = f"{shown} · {part}" if shown else part
        if len(longer) > columns:
            break
        shown = longer
    return shown


def _report(wish: Cancellation) -> None:
    if wish.is_pending:
        sys.stderr.write(f"\nnote: not stopped yet: {visible(wish.problem)}; trying again while this session is open\n")
    elif wish.state == "requested":
        sys.stderr.write(f"\nnote: the cancellation of run {wish.run_id} is stored now\n")
    elif wish.state == "refused":
        sys.stderr.write(f"\nerror: {visible(wish.not_stopped())}\n")
