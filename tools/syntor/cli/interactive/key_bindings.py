"""Keys of the session's input line."""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit.filters import is_searching
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent


def session_keys(next_mode: Callable[[], None]) -> KeyBindings:
    """Return the key bindings; `next_mode` is called by Shift-Tab."""
    keys = KeyBindings()

    @keys.add("s-tab", filter=~is_searching)
    def change_mode(event: KeyPressEvent) -> None:
        next_mode()
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
    def clear_or_leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")

    del change_mode, send, new_line, clear_or_leave
    return keys
