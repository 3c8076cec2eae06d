"""Keeps data above the inline limit in the object store, content-addressed by SHA-256.

The layout is that of the NATS object store (ADR-20), so `nats object get SYNTOR_BLOBS <sha256>` reads it. The metadata
message is written last, so an object with metadata is complete.
"""

from __future__ import annotations

import base64
import hashlib

import msgspec

from syntor.contracts.clock import now
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import MalformedMessageError
from syntor.contracts.ids import new_id
from syntor.contracts.topology import BLOBS, BLOBS_STREAM
from syntor.jetstream.appender import Append, Appender
from syntor.jetstream.connection import Connection
from syntor.jetstream.direct_reader import DirectReader

PREFIX = "blob:"
CHUNK_BYTES = 128 * 1024  # the object store's own default


class _Meta(msgspec.Struct):
    """The fields of ADR-20 object metadata that are read here."""

    nuid: str
    """Id of the chunks' subject; each attempt has its own, so chunks of an interrupted one are never read."""
    size: int
    chunks: int
    deleted: bool = False


_decode_meta = msgspec.json.Decoder(_Meta).decode


class BlobStore:
    """Stores and reads blobs; the same data is stored once."""

    def __init__(self, connection: Connection) -> None:
        self._reader = DirectReader(connection, BLOBS_STREAM)
        self._appender = Appender(connection, self._reader, group_commit=False)

    async def put(self, data: bytes) -> str:
        """Store data and return its reference, `blob:<sha256>`.

        Raises:
            InfrastructureError: it could not be stored; no metadata refers to its chunks.
        """
        digest = hashlib.sha256(data)
        name = digest.hexdigest()
        if await self._meta(name) is not None:
            return PREFIX + name
        nuid = new_id()
        chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
        for number, chunk in enumerate(chunks):
            await self._appender.append(Append(_chunk_subject(nuid), chunk, {"Nats-Msg-Id": f"{nuid}-{number}"}))
        meta = {
            "name": name,
            "bucket": BLOBS,
            "nuid": nuid,
            "size": len(data),
            "mtime": now().isoformat(),
            "chunks": len(chunks),
            "digest": "SHA-256=" + base64.urlsafe_b64encode(digest.digest()).decode(),
            "options": {"max_chunk_size": CHUNK_BYTES},
        }
        headers = {"Nats-Msg-Id": nuid, "Nats-Rollup": "sub"}
        await self._appender.append(Append(_meta_subject(name), msgspec.json.encode(meta), headers))
        return PREFIX + name

    async def get(self, ref: str) -> bytes:
        """Return the data of a reference.

        Raises:
            MalformedMessageError: not a reference, no such blob, or its data does not match its digest.
        """
        name = ref.removeprefix(PREFIX)
        if not ref.startswith(PREFIX) or len(name) != 64:
            raise MalformedMessageError(f"dataref {ref!r}: expected 'blob:<sha256>'")
        meta = await self._meta(name)
        if meta is None:
            raise MalformedMessageError(f"{ref}: no such blob")
        data = b"".join([part.payload async for part in self._reader.range(_chunk_subject(meta.nuid), 0, None)])
        if hashlib.sha256(data).hexdigest() != name:
            raise MalformedMessageError(f"{ref}: {len(data)} of {meta.size} bytes, and the digest differs")
        return data

    async def _meta(self, name: str) -> _Meta | None:
        message = await self._reader.last(_meta_subject(name))
        if message is None:
            return None
        try:
            meta = _decode_meta(message.payload)
        except UNDECODABLE as exc:
            raise MalformedMessageError(f"blob {name}: unreadable metadata: {exc}") from exc
        return None if meta.deleted else meta


def _chunk_subject(nuid: str) -> str:
    return f"$O.{BLOBS}.C.{nuid}"


def _meta_subject(name: str) -> str:
    return f"$O.{BLOBS}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
