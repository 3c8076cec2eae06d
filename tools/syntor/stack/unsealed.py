"""Protects the files of a store without a seal, such as after a crash, from the repair of nats-server.

Where a record of messages does not fit its checksum, the server cuts the file off there, when it starts: one flipped
bit takes every later message of the file with it, and their positions are given to new messages. So the last file of
messages of each stream is copied before the start. Its records say up to which position it reaches; when the server
says less, it cut something off. Then the copies are put back and the start is refused, until a person decides.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from syntor.runtime.private_files import make_private_folder
from syntor.stack.block_file import COMPRESSED, extent

DAMAGED = "damaged.json"
ACCEPTED = "accepted.json"
_COPIES = "before-start"
_INDEX = "index.db"  # nats-server rebuilds it from the messages


class LastFile(msgspec.Struct, frozen=True):
    """The last file of messages of a stream."""

    stream: str
    path: str
    """Relative to the store."""
    last: int
    """Position it reaches."""
    broken: int
    """Position whose record is damaged although records follow it; 0: none."""


def last_files(store: Path) -> list[LastFile]:
    """Return the last file of messages of each stream, where it is not compressed and not empty."""
    found: list[LastFile] = []
    for folder in sorted((store / "jetstream").glob("*/streams/*/msgs")):
        files = sorted(
            (path for path in folder.glob("*.blk") if path.stem.isdecimal()), key=lambda path: int(path.stem)
        )
        if files:
            reach = extent(files[-1].read_bytes())
            if reach.last:
                path = str(files[-1].relative_to(store))
                found.append(LastFile(folder.parent.name, path, reach.last, reach.broken))
    return found


def broken(files: list[LastFile]) -> list[str]:
    """Return the damage that the files themselves show, for people."""
    return [f"{each.path}: {each.stream} position {each.broken}, others follow" for each in files if each.broken]


def cut_off(files: list[LastFile], last: Mapping[str, int]) -> list[str]:
    """Return what the server cut off, for people.

    Args:
        last: last position by stream, as the server says.
    """
    found: list[str] = []
    for each in files:
        kept = last.get(each.stream, each.last)
        if kept < each.last:
            rest = f"; up to {each.last} the server would cut off" if each.last > kept + 1 else ""
            found.append(f"{each.path}: {each.stream} position {kept + 1}{rest}")
    return found


def copy(store: Path, files: list[LastFile]) -> None:
    """Copy files, so that they can be put back.

    Raises:
        OSError: there is no room, for example.
    """
    for each in files:
        target = store / _COPIES / each.path
        make_private_folder(target.parent)
        shutil.copyfile(store / each.path, target)


def put_back(store: Path, files: list[LastFile]) -> None:
    """Put the copies back; the server must be stopped."""
    for each in files:
        path = store / each.path
        (store / _COPIES / each.path).replace(path)
        (path.parent / _INDEX).unlink(missing_ok=True)
    discard(store)


def recover(store: Path) -> None:
    """Put back copies of a start that did not get to compare them, where the server cut their originals off."""
    copies = store / _COPIES
    for copied in sorted(copies.rglob("*.blk")):
        path = store / copied.relative_to(copies)
        content = path.read_bytes() if path.exists() else COMPRESSED
        if not content.startswith(COMPRESSED) and extent(content).last < extent(copied.read_bytes()).last:
            copied.replace(path)
            (path.parent / _INDEX).unlink(missing_ok=True)
    discard(store)


def discard(store: Path) -> None:
    """Remove the copies."""
    shutil.rmtree(store / _COPIES, ignore_errors=True)


def mark(store: Path, damage: list[str]) -> None:
    """Let starts be refused until a person decides."""
    (store / DAMAGED).write_bytes(msgspec.json.encode(damage))


def marked(store: Path) -> str:
    """Return why a start is refused; empty: it is not."""
    try:
        damage = (store / DAMAGED).read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return (
        f"the log is damaged: {damage}. After a crash, nats-server would cut off what follows what it cannot read. "
        f"Restore the newest intact backup: move {store.parent} away, then `syntor backup restore FILE`. Or rename "
        f"{store / DAMAGED} to {ACCEPTED} to start with what can be read: `syntor replay --verify` names what is lost"
    )


def is_accepted(store: Path) -> bool:
    """Return whether a person accepted the damage; asked once for each start."""
    path = store / ACCEPTED
    if not path.exists():
        return False
    path.unlink()
    return True
