"""Backups of a home folder: the log and the configuration, in one file with the digest of each part.

Read models are left out: they are rebuilt from the log. The stack must be stopped: the files of a running server are
not consistent.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import ConfigurationError, ConflictError, InvalidInputError
from syntor.runtime.private_files import make_private_folder, private
from syntor.stack import seal, unsealed
from syntor.stack.layout import Layout
from syntor.stack.running import running_stack

VERSION = 1
_MANIFEST = "manifest.json"
_KEPT = ("config.yaml", "mcp.json", "tokens.json", "trusted.yaml")
_FOLDERS = ("agents", "commands", "data/nats")
_CHUNK = 1 << 20


class Part(msgspec.Struct, frozen=True):
    """One file of a backup."""

    path: str
    """Relative to the home folder."""
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """First member of a backup: the list of its parts."""

    version: int
    created_at: datetime
    parts: list[Part]


def create(home: Path, target: Path, now: datetime) -> Manifest:
    """Write a backup; an unfinished one never has the name of a finished one.

    Raises:
        ConflictError: the stack is running, or the file exists.
        ConfigurationError: there is no log to back up, it is damaged, or the file cannot be written.
    """
    if running_stack(home) is not None:
        raise ConflictError(
            f"the stack of {home} is running; stop it first: syntor down (or: syntor backup create --stop)"
        )
    if target.exists():
        raise ConflictError(f"{target} exists; choose another name")
    if not any(Layout(home).nats_store.rglob("*")):
        raise ConfigurationError(f"{home} has no log to back up")
    if reason := unsealed.marked(Layout(home).nats_store):
        raise ConfigurationError(reason)
    if damaged := seal.changed(Layout(home).nats_store):
        raise ConfigurationError(seal.damaged_store(Layout(home).nats_store, [each.text for each in damaged]))
    paths = list(_files(home))
    manifest = Manifest(VERSION, now, [_part(home, path) for path in paths])
    partial = target.with_name(f"{target.name}.partial")
    try:
        with (
            open(partial, "wb", opener=private) as file,
            tarfile.open(fileobj=file, mode="w:gz", compresslevel=3) as archive,
        ):
            _add(archive, _MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
            for path in paths:
                archive.add(path, arcname=str(path.relative_to(home)), recursive=False)
        partial.replace(target)
    except OSError as exc:
        partial.unlink(missing_ok=True)
        raise ConfigurationError(f"{target}: {exc.strerror or exc}") from exc
    return manifest


def unpack(source: Path, folder: Path) -> Manifest:
    """Unpack a backup into a folder, and check every part against its digest.

    Raises:
        InvalidInputError: it is no backup, is truncated or changed, or holds other files; nothing of it may be used.
    """
    try:
        with tarfile.open(source, "r:*") as archive:
            manifest = _manifest(archive, source)
            wanted = {part.path: part for part in manifest.parts}
            for member in archive:
                if member.name == _MANIFEST:
                    continue
                part = wanted.pop(member.name, None)
                content = archive.extractfile(member) if member.isfile() else None
                if part is None or content is None or not _is_inside(member.name):
                    raise InvalidInputError(f"{source}: {member.name} is not a file of a backup")
                _write(folder / member.name, content.read, part, source)
    except (tarfile.TarError, EOFError, OSError) as exc:
        raise InvalidInputError(f"{source}: not a complete backup: {exc}") from exc
    if wanted:
        raise InvalidInputError(f"{source}: {len(wanted)} parts are missing, such as {next(iter(wanted))}")
    return manifest


def restore(source: Path, home: Path) -> Manifest:
    """Unpack a backup into a home folder without a log; every part is checked before any is moved into place.

    Raises:
        ConflictError: the stack is running, or the home folder has a log.
        InvalidInputError: as `unpack`.
    """
    if running_stack(home) is not None:
        raise ConflictError(f"the stack of {home} is running; stop it first: syntor down")
    if any(path.is_file() for path in Layout(home).nats_store.rglob("*")):
        raise ConflictError(f"{home} has a log already; restore into another SYNTOR_HOME, or move {home}/data away")
    make_private_folder(home)
    waiting = home / "restoring"
    if waiting.exists():
        raise ConflictError(f"{waiting} is left from an interrupted restore; remove it")
    try:
        manifest = unpack(source, waiting)
    except InvalidInputError:
        shutil.rmtree(waiting, ignore_errors=True)
        raise
    for part in manifest.parts:
        target = home / part.path
        make_private_folder(target.parent)
        (waiting / part.path).replace(target)
    Layout(home).database.unlink(missing_ok=True)  # of another log
    shutil.rmtree(waiting)
    return manifest


def _files(home: Path) -> Iterator[Path]:
    for name in _KEPT:
        if (home / name).is_file():
            yield home / name
    for name in _FOLDERS:
        yield from (path for path in sorted((home / name).rglob("*")) if path.is_file())


def _part(home: Path, path: Path) -> Part:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Part(str(path.relative_to(home)), path.stat().st_size, digest)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def _manifest(archive: tarfile.TarFile, source: Path) -> Manifest:
    first = archive.next()
    content = archive.extractfile(first) if first is not None and first.name == _MANIFEST else None
    if content is None:
        raise InvalidInputError(f"{source}: not a backup of Syntor")
    try:
        manifest = msgspec.json.decode(content.read(), type=Manifest)
    except UNDECODABLE as exc:
        raise InvalidInputError(f"{source}: the manifest is unreadable: {exc}") from exc
    if manifest.version != VERSION:
        raise InvalidInputError(f"{source}: a backup of version {manifest.version}; this program reads {VERSION}")
    return manifest


def _is_inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts


def _write(target: Path, read: Callable[[int], bytes], part: Part, source: Path) -> None:
    make_private_folder(target.parent)
    digest, size = hashlib.sha256(), 0
    with open(target, "wb", opener=private) as file:
        while chunk := read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    if size != part.size or digest.hexdigest() != part.sha256:
        raise InvalidInputError(f"{source}: {part.path} does not match its digest")
