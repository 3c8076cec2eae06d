"""The files of a folder offered for completion: those git would track or could add."""

from __future__ import annotations

import os
import time
from pathlib import Path

from pathspec import GitIgnoreSpec

MAX_FILES = 20_000
_FRESH_S = 5.0
_Rules = list[tuple[str, GitIgnoreSpec]]


class FileList:
    """Files below one folder, read again when the list is older than a few seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[str] = []
        self._read_at = float("-inf")

    def matching(self, typed: str, limit: int = 50) -> list[str]:
        """Return matching paths: prefix of the path first, then prefix of the name, then substring."""
        if time.monotonic() - self._read_at > _FRESH_S:
            self._files = list_files(self._folder)
            self._read_at = time.monotonic()
        wanted = typed.removeprefix("./").lower()
        ranked: list[tuple[int, str]] = []
        for path in self._files:
            low = path.lower()
            if low.startswith(wanted):
                ranked.append((0, path))
            elif low.rpartition("/")[2].startswith(wanted):
                ranked.append((1, path))
            elif wanted in low:
                ranked.append((2, path))
        return [path for _, path in sorted(ranked, key=lambda each: (each[0], each[1].count("/"), each[1]))[:limit]]


def list_files(folder: Path, limit: int = MAX_FILES) -> list[str]:
    """Return the files below a folder, relative to it, without those a .gitignore ignores.

    The .gitignore files of the parent folders apply too, up to the root of the repository.
    """
    folder = folder.resolve()
    found: list[str] = []
    rules = {str(folder): _above(folder)}
    for current, folders, names in os.walk(folder):
        here = [*rules.pop(current), *_rules_of(current)]
        folders[:] = sorted(
            name for name in folders if name != ".git" and not _ignored(here, os.path.join(current, name) + "/")
        )
        rules |= {os.path.join(current, name): here for name in folders}
        for name in sorted(names):
            path = os.path.join(current, name)
            if not _ignored(here, path):
                found.append(os.path.relpath(path, folder).replace(os.sep, "/"))
                if len(found) >= limit:
                    return found
    return found


def _above(folder: Path) -> _Rules:
    chain: list[Path] = []
    for above in (folder, *folder.parents):
        chain.append(above)
        if (above / ".git").exists():
            return [rule for each in reversed(chain[1:]) for rule in _rules_of(str(each))]
    return []


def _rules_of(folder: str) -> _Rules:
    try:
        with open(os.path.join(folder, ".gitignore"), encoding="utf-8", errors="replace") as file:
            return [(folder, GitIgnoreSpec.from_lines(file))]
    except (OSError, ValueError):
        return []


def _ignored(rules: _Rules, path: str) -> bool:
    """Return whether the rules ignore a path; the innermost matching file decides."""
    for folder, spec in reversed(rules):
        verdict = spec.check_file(os.path.relpath(path, folder) + ("/" if path.endswith("/") else "")).include
        if verdict is not None:
            return verdict
    return False
