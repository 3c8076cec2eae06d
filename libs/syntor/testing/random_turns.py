"""Random work of agents and of people on a workspace, and an exact picture of it, for tests and benchmarks of undo."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

Picture = dict[bytes, tuple[int, bytes]]
"""By path: mode with type bits, and content or link target."""


def picture(root: Path) -> Picture:
    """Return an exact picture of a folder without its `.git`: kinds, permission bits, contents, link targets."""
    found: Picture = {}
    base = os.fsencode(root)
    for folder, folders, names in os.walk(base):
        folders[:] = [name for name in folders if name != b".git"]
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            content = b""
            if stat.S_ISLNK(mode):
                mode, content = stat.S_IFLNK, os.readlink(path)
            elif stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    content = file.read()
            found[os.path.relpath(path, base)] = (mode, content)
    return found


class RandomTurns:
    """Changes a workspace at random; the same seed makes the same changes."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root = os.fsencode(root)
        self._random = random.Random(seed)

    def turn(self, most: int = 8) -> None:
        """Make a few changes as an agent might: writes, edits, renames, deletions, modes, links, binary files."""
        acts: list[Callable[[], None]] = [
            self._write, self._write, self._edit, self._edit, self._rename, self._delete, self._mode,
            self._link, self._binary, self._folder, self._remove_folder, self._replace,
        ]  # fmt: skip
        for _ in range(self._random.randint(1, most)):
            self._random.choice(acts)()

    def edit_elsewhere(self, avoid: set[bytes]) -> bytes:
        """Write a file as a person might, at none of the paths to avoid; return its path."""
        while True:
            path = b"person/" + self._name()
            if path not in avoid:
                self._put(path, self._bytes(50))
                return path

    def _paths(self, kind: Callable[[int], bool]) -> list[bytes]:
        found: list[bytes] = []
        for folder, folders, names in os.walk(self._root):
            folders[:] = sorted(name for name in folders if name != b".git")
            for name in sorted((*folders, *names)):
                path = os.path.join(folder, name)
                if kind(os.lstat(path).st_mode):
                    found.append(os.path.relpath(path, self._root))
            if len(found) > 300:  # enough to choose from
                break
        return found

    def _any(self, kind: Callable[[int], bool]) -> bytes | None:
        paths = self._paths(kind)
        return self._random.choice(paths) if paths else None

    def _name(self) -> bytes:
        odd = (
            b"plain",
            b"with space",
            b"new\nline",
            b"not-utf8-\xff\xfe",
            b'quo"te\\',
            "üñï".encode(),
            b"-dash",
            b".dot",
        )
        return self._random.choice(odd) + b"-%d" % self._random.randrange(200)

    def _place(self) -> bytes:
        folder = self._any(stat.S_ISDIR) if self._random.random() < 0.7 else None
        return os.path.join(folder, self._name()) if folder else self._name()

    def _bytes(self, lines: int) -> bytes:
        return b"".join(b"line %d\n" % self._random.randrange(10**6) for _ in range(self._random.randint(0, lines)))

    def _put(self, path: bytes, content: bytes) -> None:
        whole = os.path.join(self._root, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        if os.path.isdir(whole) and not os.path.islink(whole):
            return
        if os.path.islink(whole):
            os.unlink(whole)
        with open(whole, "wb") as file:
            file.write(content)

    def _write(self) -> None:
        self._put(self._place(), self._bytes(40))

    def _binary(self) -> None:
        self._put(self._place(), self._random.randbytes(self._random.randint(1, 5000)))

    def _edit(self) -> None:
        if path := self._any(stat.S_ISREG):
            with open(os.path.join(self._root, path), "ab") as file:
                file.write(self._bytes(5) or b"x")

    def _rename(self) -> None:
        old, new = self._any(lambda mode: not stat.S_ISDIR(mode)), self._place()
        if old and not os.path.lexists(os.path.join(self._root, new)):
            os.rename(os.path.join(self._root, old), os.path.join(self._root, new))

    def _delete(self) -> None:
        if path := self._any(lambda mode: not stat.S_ISDIR(mode)):
            os.unlink(os.path.join(self._root, path))

    def _mode(self) -> None:
        path = self._any(lambda mode: not stat.S_ISLNK(mode))
        if path and os.path.isdir(os.path.join(self._root, path)):
            os.chmod(os.path.join(self._root, path), self._random.choice((0o755, 0o700, 0o775)))
        elif path:
            os.chmod(os.path.join(self._root, path), self._random.choice((0o644, 0o755, 0o600, 0o640, 0o700, 0o664)))

    def _link(self) -> None:
        path = os.path.join(self._root, self._place())
        if not os.path.lexists(path):
            os.symlink(self._random.choice((b"plain-1", b"/etc/passwd", b"..", b"loop", os.path.basename(path))), path)

    def _folder(self) -> None:
        path = os.path.join(self._root, self._place())
        if not os.path.lexists(path):
            os.makedirs(os.path.join(path, b"empty"))

    def _remove_folder(self) -> None:
        path = self._any(stat.S_ISDIR)
        if path and self._random.random() < 0.3:
            shutil.rmtree(os.path.join(self._root, path))

    def _replace(self) -> None:
        """Put a folder in the place of a file."""
        path = self._any(stat.S_ISREG)
        if path:
            os.unlink(os.path.join(self._root, path))
            self._put(os.path.join(path, self._name()), self._bytes(10))
