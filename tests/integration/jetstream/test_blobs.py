"""Blobs are stored once, complete, in the layout of the NATS object store."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import nats
import pytest

from syntor.contracts.envelope import INLINE_LIMIT_BYTES, decode_envelope
from syntor.contracts.errors import MalformedMessageError, NotReachableError
from syntor.contracts.topology import BLOBS, BLOBS_STREAM
from syntor.jetstream.admin import api, stream_state
from syntor.jetstream.blobs import BlobStore
from syntor.jetstream.connection import Connection, Message
from syntor.testing.events import user_input
from syntor.testing.log import Log


async def chunks_in(log: Any) -> int:
    body = {"subjects_filter": f"$O.{BLOBS}.C.>"}
    state = (await api(log.connection, f"STREAM.INFO.{BLOBS_STREAM}", body))["state"]
    return sum((state.get("subjects") or {}).values())


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 128 * 1024 + 1, 3_000_000])
async def test_a_blob_comes_back_as_it_was_put(log: Log, size: int) -> None:
    data = os.urandom(size)

    ref = await BlobStore(log.connection).put(data)

    assert ref == f"blob:{hashlib.sha256(data).hexdigest()}"
    assert await BlobStore(log.connection).get(ref) == data


async def test_the_same_data_is_stored_once(log: Log) -> None:
    blobs = BlobStore(log.connection)
    ref = await blobs.put(b"x" * 300_000)
    stored = await stream_state(log.connection, BLOBS_STREAM)

    assert await blobs.put(b"x" * 300_000) == ref
    assert await stream_state(log.connection, BLOBS_STREAM) == stored


class BreakingConnection:
    """A connection that fails permanently after some requests."""

    def __init__(self, inner: Connection, left: int) -> None:
        self._inner = inner
        self._left = left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def request_unchecked(self, subject: str, payload: bytes, **options: Any) -> Message:
        self._left -= 1
        if self._left < 0:
            raise NotReachableError("the connection broke")
        return await self._inner.request_unchecked(subject, payload, **options)


async def test_chunks_of_an_interrupted_attempt_are_never_read(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syntor.jetstream.appender.RETRY_S", 0.05)
    data = os.urandom(500_000)
    for left in (2, 3, 4):
        interrupted = BlobStore(log.connection)
        interrupted._appender._connection = BreakingConnection(log.connection, left)  # type: ignore[assignment]
        with pytest.raises(Exception, match="broke"):
            await interrupted.put(data)
    assert await chunks_in(log) > 0

    ref = await BlobStore(log.connection).put(data)

    assert await BlobStore(log.connection).get(ref) == data


@pytest.mark.parametrize("ref", ["", "blob:", "blob:short", "file:/etc/passwd", "blob:" + "0" * 64])
async def test_an_invalid_reference_is_malformed(log: Log, ref: str) -> None:
    with pytest.raises(MalformedMessageError):
        await BlobStore(log.connection).get(ref)


async def test_damaged_data_is_malformed(log: Log) -> None:
    ref = await BlobStore(log.connection).put(b"x" * 300_000)
    await api(log.connection, f"STREAM.MSG.DELETE.{BLOBS_STREAM}", {"seq": 1})

    with pytest.raises(MalformedMessageError, match="the digest differs"):
        await BlobStore(log.connection).get(ref)


async def test_other_clients_read_the_same_objects(log: Log) -> None:
    data = os.urandom(400_000)
    ref = await BlobStore(log.connection).put(data)
    client = await nats.connect(log.server.url)

    store = await client.jetstream().object_store(BLOBS)
    found = await store.get(ref.removeprefix("blob:"))

    assert found.data == data
    assert found.info.size == 400_000
    assert [info.name for info in await store.list()] == [ref.removeprefix("blob:")]
    await client.close()


async def test_an_object_other_clients_put_under_its_digest_is_read(log: Log) -> None:
    data = os.urandom(200_000)
    name = hashlib.sha256(data).hexdigest()
    client = await nats.connect(log.server.url)

    await (await client.jetstream().object_store(BLOBS)).put(name, data)

    assert await BlobStore(log.connection).get(f"blob:{name}") == data
    await client.close()


async def test_an_event_with_large_data_keeps_only_a_reference(log: Log) -> None:
    small, large = user_input("r1", "x" * 1000), user_input("r2", "x" * INLINE_LIMIT_BYTES)
    await log.store.append(small, 0)
    await log.store.append(large, 0)

    raw = [message.payload async for message in log.store.load_raw("syntor.events.>")]

    inline, outside = (decode_envelope(payload) for payload in raw)
    assert inline.dataref == ""
    assert len(raw[1]) < 1000
    assert outside.datasize == len(large.envelope().data)
    assert await BlobStore(log.connection).get(outside.dataref) == bytes(large.envelope().data)
    assert b'"data"' not in raw[1]
