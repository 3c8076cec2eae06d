"""Parks messages given up on, with their cause and where they came from."""

from __future__ import annotations

import msgspec

from syntor.contracts import subjects
from syntor.contracts.errors import InfrastructureError
from syntor.jetstream.appending import PubAck
from syntor.jetstream.connection import Connection


async def park(
    connection: Connection, *, stream: str, consumer: str, position: int, subject: str, payload: bytes, cause: str
) -> None:
    """Store a message in SYNTOR_DLQ; parking the same position of a stream twice stores it once.

    Raises:
        InfrastructureError: it could not be stored; the message must not be given up yet.
    """
    headers = {
        "Nats-Msg-Id": f"{stream}:{consumer}:{position}",
        "Syntor-Cause": cause[:1000].replace("\r", " ").replace("\n", " "),
        "Syntor-Subject": subject,
        "Syntor-Stream": stream,
        "Syntor-Position": str(position),
    }
    reply = await connection.request(subjects.dead_letter(stream, consumer), payload, headers=headers)
    try:
        fault = msgspec.json.decode(reply.payload, type=PubAck).error
    except msgspec.DecodeError as exc:
        raise InfrastructureError(f"parking {stream}:{position}: unreadable answer") from exc
    if fault is not None:
        raise InfrastructureError(f"parking {stream}:{position}: {fault.description} ({fault.err_code})")
