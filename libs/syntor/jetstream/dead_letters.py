"""Parks messages given up on, with their cause and where they came from; and shows what is parked."""

from __future__ import annotations

import base64

import msgspec

from syntor.contracts import subjects
from syntor.contracts.errors import MalformedMessageError, NotFoundError
from syntor.contracts.topology import DEAD_LETTERS
from syntor.jetstream.admin import api, stream_state
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


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was given up."""

    number: int
    """Stream sequence among the dead letters; what it is called by."""
    stream: str
    """Stream it was in."""
    position: int
    """Where it was there."""
    subject: str
    consumer: str
    """Who gave it up."""
    cause: str
    parked_at: str
    """RFC 3339."""
    payload: str
    """What it held, as text; bytes that are none are replaced."""


async def letters(connection: Connection, *, before: int = 0, limit: int = 50) -> tuple[list[DeadLetter], int | None]:
    """Return dead letters, newest first, and the number to continue before; None: no more.

    Raises:
        InfrastructureError: they could not be read.
    """
    state = await stream_state(connection, DEAD_LETTERS)
    number = min(state.last, before - 1) if before else state.last
    found: list[DeadLetter] = []
    while number >= max(1, state.first) and len(found) < limit:
        letter = await letter_of(connection, number)
        if letter is not None:
            found.append(letter)
        number -= 1
    return found, (found[-1].number if found and number >= max(1, state.first) else None)


async def letter_of(connection: Connection, number: int) -> DeadLetter | None:
    """Return one dead letter, or None where there is none (any more)."""
    try:
        answer = await api(connection, f"STREAM.MSG.GET.{DEAD_LETTERS}", {"seq": number})
    except NotFoundError:
        return None
    message = answer["message"]
    headers = _headers(base64.b64decode(message.get("hdrs", "")))
    return DeadLetter(
        number=number,
        stream=headers.get("Syntor-Stream", ""),
        position=int(headers.get("Syntor-Position", "0")),
        subject=headers.get("Syntor-Subject", ""),
        consumer=str(message["subject"]).rpartition(".")[2],
        cause=headers.get("Syntor-Cause", ""),
        parked_at=str(message["time"]),
        payload=base64.b64decode(message.get("data", "")).decode("utf-8", "replace"),
    )


async def drop(connection: Connection, number: int) -> None:
    """Remove a dead letter; the message it was stays where it was."""
    await api(connection, f"STREAM.MSG.DELETE.{DEAD_LETTERS}", {"seq": number})


def _headers(block: bytes) -> dict[str, str]:
    lines = block.decode("utf-8", "replace").split("\r\n")[1:]
    return {name: value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}
