"""Sets damaged files of a home aside: renamed with the time, and kept, so that what is derived can be made anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from syntor.contracts.clock import now

MARK = ".damaged-"
KEPT = 5  # damaged files of one name; older ones are removed, so that a failing disk is not filled with them


def set_aside(path: Path, companions: Iterable[str] = ()) -> Path:
    """Rename a file or folder to `NAME.damaged-TIME` beside it, and return the new path.

    Args:
        path: what is damaged.
        companions: suffixes of files that belong to it, such as `-wal`; renamed alike where there are any.

    Raises:
        OSError: it cannot be renamed.
    """
    stamp = now().strftime("%Y%m%dT%H%M%S")
    target, number = path.with_name(f"{path.name}{MARK}{stamp}"), 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}{MARK}{stamp}.{number}")
    suffixes = tuple(companions)
    for suffix in ("", *suffixes):
        source = path.with_name(path.name + suffix)
        if source.exists() or source.is_symlink():
            source.rename(target.with_name(target.name + suffix))
    _remove_oldest(path, suffixes)
    return target


def found_aside(folder: Path) -> list[Path]:
    """Return what was set aside in a folder, oldest first; companions are not listed beside their file."""
    found = sorted(folder.glob(f"*{MARK}*"), key=lambda path: path.name.partition(MARK)[2])
    return [path for path in found if "-" not in path.name.partition(MARK)[2]]


def _remove_oldest(path: Path, companions: tuple[str, ...]) -> None:
    """Remove all but the newest files; a folder may hold files of the user, and is never removed."""
    files = [each for each in found_aside(path.parent) if each.name.startswith(path.name + MARK) and each.is_file()]
    for old in files[:-KEPT]:
        for suffix in ("", *companions):
            each = old.with_name(old.name + suffix)
            if not each.is_dir():
                each.unlink(missing_ok=True)
