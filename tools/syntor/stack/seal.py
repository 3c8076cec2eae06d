"""Seal of the store: digests of every file of a stopped nats-server, compared before it is started again.

The server checks only some of its files, and repairs by leaving out what it cannot read; a consumer's state it takes as
it is. So a file that changed while nothing wrote to it is found here, before the server sees it. Files the server keeps
about its streams and consumers are restored from the seal, its index is rebuilt, and messages are never touched: with
these damaged the stack does not start. The seal is inside the store, so it is moved, copied and backed up with it; it
is removed at a start, so a store that was not stopped in order has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.runtime.private_files import private
from syntor.stack.block_file import first_position, positions_in

NAME = "seal.json"
CHUNK_BYTES = 4096  # digests are per chunk, so that damage has a position within a file
KEPT_BYTES = 256 * 1024  # files up to this size, except messages, are kept in the seal
LOG = "SYNTOR_EVENTS"
_INDEX = "index.db"  # nats-server rebuilds it from the messages
_DIGEST_BYTES = 16


class SealedFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of the store."""

    path: str
    """Relative to the store."""
    size: int
    digests: bytes
    """Digest of each chunk."""
    content: bytes = b""
    """The file itself, where it is kept."""
    first: int = 0
    """First position in a file of messages; 0: not known."""

    @property
    def holds_messages(self) -> bool:
        """Whether it is a file of messages."""
        return self.path.endswith(".blk")

    @property
    def is_restorable(self) -> bool:
        """Whether the stack can start after this file was damaged."""
        return not self.holds_messages and (self.path.endswith(_INDEX) or len(self.content) == self.size)


class Seal(msgspec.Struct, frozen=True):
    """All files of a store, when the server was stopped."""

    files: list[SealedFile]


class Changed(msgspec.Struct, frozen=True):
    """A file that is not as it was when the server was stopped."""

    file: SealedFile
    detail: str
    """Where it changed, for people."""

    @property
    def text(self) -> str:
        """One line about it."""
        return f"{self.file.path}: {self.detail}"


def damaged_store(store: Path, lost: list[str]) -> str:
    """Return why a stack does not start, and what to do."""
    return (
        f"the log is damaged: {'; '.join(lost)}; while the stack was stopped, something changed these files. Restore "
        f"the newest intact backup: move {store.parent} away, then `syntor backup restore FILE`. Or remove "
        f"{store / NAME} to start with the log as it is: what is damaged in it is then lost, and "
        "`syntor replay --verify` names it"
    )


def write(store: Path) -> None:
    """Seal a store whose server is stopped; a store without files of a server gets no seal."""
    files = [_sealed(store, path) for path in _files(store)]
    if files:
        target = store / NAME
        partial = target.with_suffix(".partial")
        _write(partial, msgspec.json.encode(Seal(files)))
        partial.replace(target)


def changed(store: Path) -> list[Changed] | None:
    """Return the files that changed since the store was sealed, by path; None: it is not sealed.

    A seal that cannot be read is itself damaged, and returned as a changed file that can be restored.
    """
    path = store / NAME
    if not path.exists():
        return None
    try:
        seal = msgspec.json.decode(path.read_bytes(), type=Seal)
    except (OSError, *UNDECODABLE) as exc:
        return [Changed(SealedFile(NAME, 0, b""), f"the seal cannot be read: {exc}")]
    found: list[Changed] = []
    for file in seal.files:
        detail = _difference(store, file, seal)
        if detail:
            found.append(Changed(file, detail))
    return found


def restore(store: Path, files: list[Changed]) -> None:
    """Restore changed files that are restorable; an index is removed, so that the server rebuilds it."""
    for each in files:
        path = store / each.file.path
        if each.file.path.endswith(_INDEX) or each.file.path == NAME:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, each.file.content)


def remove(store: Path) -> None:
    """Remove the seal: a server is about to change the files."""
    (store / NAME).unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb", opener=private) as file:
        file.write(content)


def _files(store: Path) -> Iterator[Path]:
    for path in sorted((store / "jetstream").rglob("*")):
        if path.is_file():
            yield path


def _sealed(store: Path, path: Path) -> SealedFile:
    content = path.read_bytes()
    messages = path.suffix == ".blk"
    kept = content if not messages and path.name != _INDEX and len(content) <= KEPT_BYTES else b""
    first = first_position(content) if messages else 0
    return SealedFile(str(path.relative_to(store)), len(content), _digests(content), kept, first)


def _digests(content: bytes) -> bytes:
    view = memoryview(content)
    return b"".join(
        sha256(view[start : start + CHUNK_BYTES]).digest()[:_DIGEST_BYTES]
        for start in range(0, len(content), CHUNK_BYTES)
    )


def _difference(store: Path, file: SealedFile, seal: Seal) -> str:
    """Return how a file differs from the sealed one; empty: it does not."""
    try:
        content = (store / file.path).read_bytes()
    except FileNotFoundError:
        return "is missing"
    if len(content) != file.size:
        return f"has {len(content)} bytes, had {file.size}"
    found = _digests(content)
    if found == file.digests:
        return ""
    numbers = [
        number
        for number in range(len(found) // _DIGEST_BYTES)
        if found[number * _DIGEST_BYTES : (number + 1) * _DIGEST_BYTES]
        != file.digests[number * _DIGEST_BYTES : (number + 1) * _DIGEST_BYTES]
    ]
    start, end = numbers[0] * CHUNK_BYTES, min((numbers[-1] + 1) * CHUNK_BYTES, file.size)
    where = f"changed between bytes {start} and {end}"
    return where + _positions(content, start, end, file, seal) if file.holds_messages else where


def _positions(content: bytes, start: int, end: int, file: SealedFile, seal: Seal) -> str:
    """Return which positions of its stream a part of a file of messages holds."""
    folder = file.path.rpartition("/")[0]
    stream = Path(folder).parent.name
    following = sorted(
        other.first for other in seal.files if other.path.rpartition("/")[0] == folder and other.first > file.first
    )
    first, last = positions_in(content, start, end)
    end_of_file = following[0] - 1 if following else 0
    if first < file.first or (end_of_file and first > end_of_file):  # the bytes that say it are damaged themselves
        first = file.first
    if last < first or (end_of_file and last > end_of_file):
        last = end_of_file
    if not first:
        return f", {stream}"
    if last == first:
        return f", {stream} position {first}"
    return f", {stream} positions {first} to {last or 'its end'}"
