"""Keeps dead-lettered messages in SYNTOR_DLQ, with cause and original position; lists and drops them."""

from __future__ import annotations

import base64

import msgspec

from syntor.contracts import subjects
from syntor.contracts.errors import MalformedMessageError, NotFoundError
from syntor.contracts.http.v1 import DeadLetter
from syntor.contracts.rpc.v1 import Cut
from syntor.contracts.topology import DEAD_LETTERS
from syntor.eventsourcing.dead_letters import DeadLettered
from syntor.jetstream.admin import api, stream_state
from syntor.jetstream.appender import Append, Appender
from syntor.jetstream.connection import Connection
from syntor.jetstream.direct_reader import DirectReader

LISTED_CHARACTERS = 16_000  # of a payload in a list


async def dead_letter(connection: Connection, letter: DeadLettered, payload: bytes) -> None:
    """Store a message in SYNTOR_DLQ; the same position of the same consumer is stored once.

    Raises:
        InfrastructureError: it could not be stored; the message must not be terminated yet.
    """
    headers = {
        "Nats-Msg-Id": f"{letter.stream}:{letter.consumer}:{letter.position}",
        "Syntor-Cause": letter.cause[:1000].replace("\r", " ").replace("\n", " "),
        "Syntor-Subject": letter.subject,
        "Syntor-Stream": letter.stream,
        "Syntor-Position": str(letter.position),
    }
    appender = Appender(connection, DirectReader(connection, DEAD_LETTERS), group_commit=False)
    item = Append(subjects.dead_letter(letter.stream, letter.consumer), payload, headers)
    try:
        await appender.append(item)
    except MalformedMessageError:  # too large with these headers added; its own stream keeps the payload
        await appender.append(msgspec.structs.replace(item, payload=b""))


async def letters(connection: Connection, *, before: int = 0, limit: int = 50) -> tuple[list[DeadLetter], int | None]:
    """Return dead letters, newest first, and the cursor of the next page (`before`); None: this is the last page.

    Raises:
        InfrastructureError: they could not be read.
    """
    state = await stream_state(connection, DEAD_LETTERS)
    number = min(state.last, before - 1) if before else state.last
    found: list[DeadLetter] = []
    while number >= max(1, state.first) and len(found) < limit:
        letter = await letter_of(connection, number)
        if letter is not None:
            found.append(_shortened(letter))
        number -= 1
    return found, (found[-1].number if found and number >= max(1, state.first) else None)


async def letter_of(connection: Connection, number: int) -> DeadLetter | None:
    """Return one dead letter, or None if there is none of that number."""
    try:
        response = await api(connection, f"STREAM.MSG.GET.{DEAD_LETTERS}", {"seq": number})
    except NotFoundError:
        return None
    message = response["message"]
    headers = _headers(base64.b64decode(message.get("hdrs", "")))
    return DeadLetter(
        number=number,
        stream=headers.get("Syntor-Stream", ""),
        position=int(headers.get("Syntor-Position", "0")),
        subject=headers.get("Syntor-Subject", ""),
        consumer=str(message["subject"]).rpartition(".")[2],
        cause=headers.get("Syntor-Cause", ""),
        dead_lettered_at=str(message["time"]),
        payload=base64.b64decode(message.get("data", "")).decode("utf-8", "replace"),
    )


def _shortened(letter: DeadLetter) -> DeadLetter:
    """Return a dead letter as a list shows it."""
    if len(letter.payload) <= LISTED_CHARACTERS:
        return letter
    cut = {"payload": Cut(size=len(letter.payload), whole=f"/v1/dead_letters/{letter.number}")}
    return msgspec.structs.replace(letter, payload=letter.payload[:LISTED_CHARACTERS], cut=cut)


async def drop(connection: Connection, number: int) -> None:
    """Delete a dead letter; the original message stays in its stream."""
    await api(connection, f"STREAM.MSG.DELETE.{DEAD_LETTERS}", {"seq": number})


def _headers(block: bytes) -> dict[str, str]:
    lines = block.decode("utf-8", "replace").split("\r\n")[1:]
    return {name: value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}
