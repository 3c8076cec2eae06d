"""Keeps data above the inline limit in the object store, named by its SHA-256.

The layout is the object store's of the NATS clients, so `nats object get SYNTOR_BLOBS <sha256>` reads it.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

import msgspec

from syntor.contracts.errors import InfrastructureError, MalformedMessageError
from syntor.contracts.topology import BLOBS, BLOBS_STREAM
from syntor.jetstream.connection import Connection
from syntor.jetstream.errors import ApiFault, fault_to_error
from syntor.jetstream.reading import DirectReader

PREFIX = "blob:"
CHUNK_BYTES = 128 * 1024  # the object store's own default


class _Reply(msgspec.Struct):
    error: ApiFault | None = None


class BlobStore:
    """Puts and gets whole blobs; putting the same data twice stores it once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reader = DirectReader(connection, BLOBS_STREAM)

    async def put(self, data: bytes) -> str:
        """Store data and return its reference, `blob:<sha256>`.

        Raises:
            InfrastructureError: it could not be stored; nothing refers to it yet.
        """
        digest = hashlib.sha256(data)
        name = digest.hexdigest()
        if await self._reader.last(_meta_subject(name)) is not None:
            return PREFIX + name
        chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
        for number, chunk in enumerate(chunks):
            await self._store(_chunk_subject(name), chunk, {"Nats-Msg-Id": f"{name}-{number}"})
        meta = {
            "name": name,
            "bucket": BLOBS,
            "nuid": name,
            "size": len(data),
            "mtime": datetime.now(UTC).isoformat(),
            "chunks": len(chunks),
            "digest": "SHA-256=" + base64.urlsafe_b64encode(digest.digest()).decode(),
            "options": {"max_chunk_size": CHUNK_BYTES},
        }
        await self._store(_meta_subject(name), msgspec.json.encode(meta), {"Nats-Rollup": "sub"})
        return PREFIX + name

    async def get(self, ref: str) -> bytes:
        """Return the data of a reference.

        Raises:
            MalformedMessageError: not a reference, or what is stored is not what it names.
        """
        name = ref.removeprefix(PREFIX)
        if not ref.startswith(PREFIX) or len(name) != 64:
            raise MalformedMessageError(f"dataref {ref!r}: expected 'blob:<sha256>'")
        parts = [message.payload async for message in self._reader.range(_chunk_subject(name), 0, None)]
        data = b"".join(parts)
        if hashlib.sha256(data).hexdigest() != name:
            raise MalformedMessageError(f"{ref}: stored data is missing or not what its digest says")
        return data

    async def _store(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        reply = await self._connection.request(subject, payload, headers=headers)
        try:
            fault = msgspec.json.decode(reply.payload, type=_Reply).error
        except msgspec.DecodeError as exc:
            raise InfrastructureError(f"storing a blob under {subject}: unreadable answer") from exc
        if fault is not None:
            raise fault_to_error(f"storing a blob under {subject}", fault)


def _chunk_subject(name: str) -> str:
    return f"$O.{BLOBS}.C.{name}"


def _meta_subject(name: str) -> str:
    return f"$O.{BLOBS}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
