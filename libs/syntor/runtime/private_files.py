"""Files and folders of a home that no other account may read, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_OTHERS = 0o077


def private(path: str, flags: int) -> int:
    """Open a file for its owner only; the `opener` of `open`. An existing file of others' is left as it is."""
    descriptor = os.open(path, flags, FILE_MODE)
    if os.fstat(descriptor).st_uid == os.geteuid():
        os.fchmod(descriptor, FILE_MODE)
    return descriptor


def make_private_folder(folder: Path) -> None:
    """Create a folder that only its owner may enter, and missing parents of it; an existing one keeps its mode.

    Raises:
        OSError: it cannot be created.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(FOLDER_MODE, exist_ok=True)
        folder.chmod(FOLDER_MODE)


def shared_paths(trees: Iterable[Path], alone: Iterable[Path] = ()) -> list[Path]:
    """Return this account's files and folders that other accounts may use; links are skipped.

    Args:
        trees: files, and folders with everything below them.
        alone: folders without what is below them; they come first.
    """
    return [path for path in (*alone, *_all(trees)) if _mode(path) & _OTHERS]


def tighten(paths: Iterable[Path]) -> list[Path]:
    """Take the rights of other accounts from paths; return what was changed."""
    changed: list[Path] = []
    for path in paths:
        try:
            path.chmod(_mode(path) & ~_OTHERS)
        except OSError:  # removed meanwhile, or on a file system without modes
            continue
        changed.append(path)
    return changed


def _all(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield path
        if path.is_dir() and not path.is_symlink():
            for folder, folders, files in os.walk(path):
                yield from (Path(folder, name) for name in (*folders, *files))


def _mode(path: Path) -> int:
    """Return the permissions of a file or folder of this account; 0 for anything else."""
    try:
        status = path.lstat()
    except OSError:
        return 0
    if status.st_uid != os.geteuid() or not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return 0
    return stat.S_IMODE(status.st_mode)
