"""A real server with a damaged log: a flipped bit, a removed message and two swapped ones are found with position."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from syntor.contracts import subjects
from syntor.contracts.log.v1 import LogCheckpoint
from syntor.contracts.run.v1 import RunDone, RunStarted
from syntor.contracts.topology import EVENTS
from syntor.eventsourcing.log_watch import LogWatch
from syntor.eventsourcing.store import RawEvent
from syntor.eventsourcing.verification import Damage, LogVerifier
from syntor.jetstream.admin import apply_topology
from syntor.jetstream.connection import Connection, connect
from syntor.jetstream.store import JetStreamStore
from syntor.replay.integrity import verify_log
from syntor.replay.source import open_log
from syntor.testing.events import new_event, stream_delta, user_input
from syntor.testing.nats_server import NatsServer

RUNS = 20
MESSAGES = RUNS * 4 + 1
STREAM = Path("store") / "jetstream" / "$G" / "streams" / EVENTS


async def _fill(connection: Connection) -> None:
    await apply_topology(connection)
    store = JetStreamStore(connection, group_commit=False)
    for number in range(RUNS):
        revision = await store.append(user_input(f"r{number}"), 0)
        revision = await store.append(new_event(f"r{number}", RunStarted(agent="worker"), version=2), revision)
        await store.append(stream_delta(f"r{number}", f"text of {number}"), None)
        done = RunDone(final_message=f"answer of {number}", task_id="t1")
        await store.append(new_event(f"r{number}", done, version=3), revision)
    watch = LogWatch()
    watch.see([raw async for raw in store.load_raw(subjects.ALL_EVENTS)])
    event = LogCheckpoint(position=watch.position, hash=watch.log_hash())
    await store.append(new_event("main", event), 0)
    await store.close()


async def _on(server: NatsServer, work: Callable[[Connection], Awaitable[None]]) -> None:
    connection = await connect(server.url, "syntor/test")
    try:
        await work(connection)
    finally:
        await connection.close()


async def _verified(url: str) -> LogVerifier:
    async with open_log(url) as source:
        return await verify_log(source)


@pytest.fixture
async def server(tmp_path: Path) -> NatsServer:
    """A stopped server with a log of whole runs and a checkpoint at its end."""
    prepared = NatsServer(tmp_path / "nats")
    with prepared:
        await _on(prepared, _fill)
    return prepared


async def _damage_of_copy(server: NatsServer, folder: Path, change: Callable[[list[RawEvent]], None]) -> list[Damage]:
    """Copy the log to another server, changed on the way; return the damage found there."""
    messages: list[RawEvent] = []

    async def read(connection: Connection) -> None:
        store = JetStreamStore(connection)
        messages.extend([raw async for raw in store.load_raw(subjects.ALL_EVENTS)])

    async def write(connection: Connection) -> None:
        await apply_topology(connection)
        for raw in messages:
            await connection.request(raw.subject, raw.payload, headers={"Nats-Msg-Id": raw.message_id}, timeout_s=5)

    with server:
        await _on(server, read)
    change(messages)
    with NatsServer(folder) as copy:
        await _on(copy, write)
        return (await _verified(copy.url)).damage


async def test_an_intact_log_verifies_to_its_end(server: NatsServer) -> None:
    with server:
        log = await _verified(server.url)
    assert (log.damage, log.events, log.checkpoints, log.covered) == ([], MESSAGES, 1, MESSAGES - 1)


@pytest.mark.parametrize("text", ["answer of 7", "text of 7"])
async def test_a_flipped_bit_in_the_file_of_the_log_is_found_with_its_position(server: NatsServer, text: str) -> None:
    block = server.folder / STREAM / "msgs" / "1.blk"
    content = bytearray(block.read_bytes())
    content[content.index(text.encode())] ^= 4
    block.write_bytes(bytes(content))
    with server:
        damage = (await _verified(server.url)).damage
    position = 7 * 4 + (4 if text.startswith("answer") else 3)
    assert (damage[0].first, damage[0].last) == (position, position)
    assert "missing" in damage[0].what


async def test_a_flipped_bit_in_the_last_event_is_found(server: NatsServer) -> None:
    block = server.folder / STREAM / "msgs" / "1.blk"
    content = bytearray(block.read_bytes())
    content[content.rindex(b'"hash":"') + 9] ^= 1
    block.write_bytes(bytes(content))
    with server:
        damage = (await _verified(server.url)).damage
    assert [(each.first, each.last) for each in damage] == [(MESSAGES, MESSAGES)]


async def test_a_removed_message_is_found_with_its_position(server: NatsServer, tmp_path: Path) -> None:
    damage = await _damage_of_copy(server, tmp_path / "copy", lambda messages: messages.__delitem__(29))
    assert any(each.first <= 30 <= each.last and "r7" in each.subject for each in damage), damage


async def test_two_swapped_messages_are_found_with_their_positions(server: NatsServer, tmp_path: Path) -> None:
    def swap(messages: list[RawEvent]) -> None:
        messages[28], messages[32] = messages[32], messages[28]  # the first events of two runs

    damage = await _damage_of_copy(server, tmp_path / "copy", swap)
    assert any(each.first <= 29 <= each.last for each in damage), damage
    assert any(each.first <= 33 <= each.last for each in damage), damage
