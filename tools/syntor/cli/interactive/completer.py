"""Completion of slash commands with their descriptions, and of files after @ that .gitignore does not ignore."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from syntor.cli.interactive.files import FileList
from syntor.contracts.visible_text import visible, visible_line

_MAX_META = 120  # characters of a description
_MENTION = re.compile(r"""(?:(?<=\s)|\A)@(?:"([^"\n]*)|([^\s"]*))\Z""")
_COMMAND = re.compile(r"\s*/(\S*)\Z")


class SessionCompleter(Completer):
    """Completes the word before the cursor."""

    def __init__(self, commands: dict[str, str], folder: Path) -> None:
        self._commands = commands
        self._files = FileList(folder)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield the candidates."""
        text = document.text_before_cursor
        if command := _COMMAND.match(text):
            typed = command[1]
            for name, description in self._commands.items():
                if name.startswith(typed.lower()):
                    yield Completion(
                        name,
                        start_position=-len(typed),
                        display=f"/{visible(name)}",
                        display_meta=visible_line(description, _MAX_META),
                    )
        elif mention := _MENTION.search(text):
            typed = mention[0][1:]
            for path in self._files.matching(mention[1] or mention[2] or ""):
                quoted = f'"{path}"' if any(each.isspace() for each in path) else path
                yield Completion(quoted, start_position=-len(typed), display=visible(path))
