"""Completion: slash commands with their descriptions, and files after @, without those .gitignore names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

MAX_FILES = 5000
MAX_SHOWN = 50


def project_files(folder: Path) -> Iterator[str]:
    """Yield files below a folder, relative, leaving out what .gitignore names and hidden folders."""
    try:
        ignored = GitIgnoreSpec.from_lines((folder / ".gitignore").read_text(encoding="utf-8").splitlines())
    except OSError:
        ignored = GitIgnoreSpec.from_lines([])
    count = 0
    for root, folders, names in os.walk(folder):
        relative = Path(root).relative_to(folder)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not ignored.match_file(f"{relative / name}/")
        )
        for name in sorted(names):
            path = (relative / name).as_posix()
            if not ignored.match_file(path):
                count += 1
                if count > MAX_FILES:
                    return
                yield path


class SessionCompleter(Completer):
    """Completes the word before the cursor."""

    def __init__(self, commands: dict[str, str], folder: Path) -> None:
        self._commands = commands
        self._folder = folder

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what the word can become."""
        text = document.text_before_cursor
        word = text.rsplit(None, 1)[-1] if text and not text[-1].isspace() else ""
        if text.startswith("/") and " " not in text:
            for name, description in self._commands.items():
                if name.startswith(text[1:].lower()):
                    yield Completion(name, start_position=1 - len(text), display=f"/{name}", display_meta=description)
        elif word.startswith("@"):
            wanted, shown = word[1:].lower(), 0
            for path in project_files(self._folder):
                if wanted in path.lower():
                    yield Completion(path, start_position=1 - len(word))
                    shown += 1
                    if shown == MAX_SHOWN:
                        return
