"""Parks messages given up on, with their cause and where they came from."""

from __future__ import annotations

import msgspec

from syntor.contracts import subjects
from syntor.contracts.errors import MalformedMessageError
from syntor.contracts.topology import DEAD_LETTERS
from syntor.jetstream.appending import Append, Appender
from syntor.jetstream.connection import Connection
from syntor.jetstream.reading import DirectReader


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
    appender = Appender(connection, DirectReader(connection, DEAD_LETTERS), group_commit=False)
    letter = Append(subjects.dead_letter(stream, consumer), payload, headers)
    try:
        await appender.append(letter)
    except MalformedMessageError:  # too large together with its headers; what it was stays at its position
        await appender.append(msgspec.structs.replace(letter, payload=b""))
