"""Keys of the session's input line."""

from __future__ import annotations

from typing import Protocol

from prompt_toolkit.filters import Condition, is_searching, vi_insert_mode
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent


class Actions(Protocol):
    """What keys do besides editing."""

    @property
    def is_busy(self) -> bool:
        """Whether a run is in progress."""
        ...

    def next_mode(self) -> None:
        """Change the permission mode."""
        ...

    def cancel(self) -> bool:
        """Cancel the run in progress; return whether the session stops waiting for it (the second time)."""
        ...

    def take_back(self) -> str | None:
        """Return the message queued last, which is queued no more; None: there is none."""
        ...

    def show_outputs(self) -> None:
        """Show what tools printed, in a pager."""
        ...


def session_keys(actions: Actions) -> KeyBindings:
    """Return the key bindings."""
    keys = KeyBindings()
    busy = Condition(lambda: actions.is_busy)

    @keys.add("s-tab", filter=~is_searching)
    def change_mode(event: KeyPressEvent) -> None:
        actions.next_mode()
        event.app.invalidate()

    @keys.add("enter", filter=~is_searching)
    def send(event: KeyPressEvent) -> None:
        state = event.current_buffer.complete_state
        if state is not None and state.current_completion is not None and not event.current_buffer.text.startswith("/"):
            event.current_buffer.complete_state = None  # accepts the file; the message may continue
            event.current_buffer.insert_text(" ")
        else:
            event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=~is_searching)
    @keys.add("c-j", filter=~is_searching)
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c", filter=~is_searching)
    @keys.add("<sigint>")  # Ctrl-C while something is printed above the input line
    def clear_or_leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        elif not actions.is_busy or actions.cancel():
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")

    @keys.add("escape", filter=busy & ~is_searching & ~vi_insert_mode)
    def stop(event: KeyPressEvent) -> None:
        if actions.cancel():
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")

    @keys.add("up", filter=Condition(lambda: actions.is_busy))
    def take_back(event: KeyPressEvent) -> None:
        queued = None if event.current_buffer.text else actions.take_back()
        if queued is None:
            event.current_buffer.auto_up(count=event.arg)
        else:
            event.current_buffer.insert_text(queued)

    @keys.add("c-o", filter=~is_searching)
    def outputs(event: KeyPressEvent) -> None:
        from prompt_toolkit.application import run_in_terminal

        run_in_terminal(actions.show_outputs)

    @keys.add("c-g", filter=~is_searching)
    def editor(event: KeyPressEvent) -> None:
        event.current_buffer.open_in_editor()

    del change_mode, send, new_line, clear_or_leave, stop, take_back, outputs, editor
    return keys
