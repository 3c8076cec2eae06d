"""Judges a flipped bit in the store of a nats-server that was killed, by what can be read of it then.

A crash leaves no seal, so that the hashes of the log, the comparison of its last files, and the warnings of the server
speak of damage. What none of them speaks of has to read the same as without the damage.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from syntor.contracts.errors import InfrastructureError, NotFoundError, SyntorError
from syntor.contracts.topology import CONSUMERS, EVENTS, STREAMS
from syntor.eventsourcing.verification import Claim
from syntor.faults.flip import Flip
from syntor.jetstream.admin import api, apply_topology, stream_state
from syntor.jetstream.connection import Connection, connect
from syntor.projections.store import Checkpoint
from syntor.replay.integrity import verify_log
from syntor.replay.source import open_log
from syntor.stack import unsealed
from syntor.stack.block_file import positions_in
from syntor.stack.nats_log import file_warnings
from syntor.stack.unsealed import LastFile
from syntor.testing.nats_server import NatsServer

FOUND, REPORTED, HARMLESS, PROGRESS, MISSED = (
    "found with its position", "reported or repaired", "without effect", "progress of a consumer changed", "NOT FOUND",
)  # fmt: skip
_POSITIONS = re.compile(r"positions? (\d+)(?: to (\d+)|; up to (\d+))?")


class Verdict(msgspec.Struct, frozen=True):
    """What became of a flip."""

    what: str
    detail: str = ""


class Reading(msgspec.Struct, frozen=True):
    """What can be read of a store."""

    contents: dict[str, str]
    """By stream and consumer: a digest of all that its clients can read; a consumer's is its progress."""
    damage: tuple[str, ...] = ()
    """Damage of the log that its hashes, or its last files, show, with positions."""
    changes: tuple[str, ...] = ()
    """What the start had to create or update to match the declared streams and consumers."""
    warnings: tuple[str, ...] = ()
    """What the server warned about its files."""


def read(folder: Path, claim: Checkpoint) -> Reading:
    """Start a server on `folder/store`, apply the topology as a start does, and read everything.

    Args:
        claim: what the read model recorded.
    """
    files = unsealed.last_files(folder / "store")
    server = NatsServer(folder)
    try:
        with server:
            found = asyncio.run(_read(server.url, claim, files))
    except RuntimeError as exc:
        server.kill()
        found = Reading({}, changes=(f"nats-server does not start: {str(exc)[-200:]}",))
    except SyntorError as exc:
        found = Reading({}, changes=(f"the start is refused: {exc}",))
    broken = tuple(unsealed.broken(files))
    if broken:
        found = msgspec.structs.replace(found, damage=(*broken, *found.damage))
    return msgspec.structs.replace(found, warnings=tuple(file_warnings(folder / "nats.log")))


def judge(flip: Flip, original: bytes, intact: Reading, damaged: Reading) -> Verdict:
    """Return what became of a flip.

    Args:
        original: the file without the flip.
        intact: the reading of the store without the flip.
        damaged: the reading with it.
    """
    said = "; ".join((*damaged.damage, *damaged.changes, *damaged.warnings))
    differing = sorted(name for name, text in intact.contents.items() if damaged.contents.get(name) != text)
    if flip.kind == f"{EVENTS}/*.blk":
        position = positions_in(original, flip.offset, flip.offset + 1)[0]
        ranges = [(int(first), int(last or cut or first)) for first, last, cut in _POSITIONS.findall(said)]
        named = any(first <= position <= last for first, last in ranges) or (ranges and not position)
        if damaged.damage:
            return Verdict(FOUND if named else MISSED, f"at position {position}: {said}")
        return Verdict(MISSED if differing else HARMLESS, f"position {position}")
    if damaged.damage or damaged.warnings or damaged.changes != intact.changes:
        return Verdict(FOUND if damaged.damage else REPORTED, said)
    if not differing:
        return Verdict(HARMLESS)
    consumers = all("/" in name for name in differing)
    return Verdict(
        PROGRESS if consumers else MISSED, ", ".join(f"{each}: {damaged.contents[each]}" for each in differing)
    )


async def _read(url: str, claim: Checkpoint, files: list[LastFile]) -> Reading:
    connection = await connect(url, "syntor/faults")
    try:
        cut_off = unsealed.cut_off(files, await _last_positions(connection))
        changes = await apply_topology(connection)
        contents = {stream.name: await _stream(connection, stream.name) for stream in STREAMS if stream.name != EVENTS}
        for spec in CONSUMERS:
            contents[f"{spec.stream}/{spec.name}"] = await _consumer(connection, spec.stream, spec.name)
    finally:
        await connection.close()
    async with open_log(url) as source:
        log = await verify_log(source, {"the read model": Claim(claim.position, claim.log_hash)})
    contents[EVENTS] = f"{log.position} {log.log_hash}"
    return Reading(contents, (*cut_off, *(f"{each.positions}: {each.what}" for each in log.damage)), tuple(changes))


async def _last_positions(connection: Connection) -> dict[str, int]:
    names: list[str] = (await api(connection, "STREAM.NAMES")).get("streams") or []
    return {name: (await stream_state(connection, name)).last for name in names}


async def _stream(connection: Connection, name: str) -> str:
    """Return a digest of the messages of a stream."""
    state = (await api(connection, f"STREAM.INFO.{name}"))["state"]
    digest = sha256()
    for sequence in range(state["first_seq"], state["last_seq"] + 1):
        try:
            found = await api(connection, f"STREAM.MSG.GET.{name}", {"seq": sequence})
        except (NotFoundError, InfrastructureError) as exc:
            found = {"message": str(exc)}
        digest.update(msgspec.json.encode(found["message"], order="sorted"))
    return f"{state['messages']} messages up to {state['last_seq']}, {digest.hexdigest()[:16]}"


async def _consumer(connection: Connection, stream: str, name: str) -> str:
    info: dict[str, Any] = await api(connection, f"CONSUMER.INFO.{stream}.{name}")
    return ", ".join(
        f"{key} {info[key]['stream_seq'] if isinstance(info[key], dict) else info[key]}"
        for key in ("delivered", "ack_floor", "num_ack_pending", "num_pending")
    )


def try_flip(store: Path, flip: Flip, claim: Checkpoint, folder: Path) -> Verdict:
    """Read a store with and without a flipped bit, each in a copy, and judge.

    Args:
        folder: an empty one for the copies.
    """
    readings: list[Reading] = []
    for name in ("intact", "flipped"):
        copy = folder / name / "store"
        shutil.copytree(store, copy)
        if name == "flipped":
            content = bytearray((copy / flip.path).read_bytes())
            content[flip.offset] ^= 1 << flip.bit
            (copy / flip.path).write_bytes(content)
        readings.append(read(folder / name, claim))
    intact, damaged = readings
    if intact.damage or intact.warnings:
        return Verdict(MISSED, f"damage without a flip: {'; '.join((*intact.damage, *intact.warnings))}")
    return judge(flip, (store / flip.path).read_bytes(), intact, damaged)
