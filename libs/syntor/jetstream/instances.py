"""Tells which instance of a queue holds which message: the instances ask each other.

A lease must be longer than the stalls of a process, so a dead process has to be noticed otherwise. Its subscription
ends with its connection: the server replies immediately to a question to it that there are no responders. A stalled
process keeps its subscription: a question to it times out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Literal

import msgspec

from syntor.contracts import subjects
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import NotReachableError
from syntor.contracts.topology import ConsumerSpec
from syntor.jetstream.connection import Connection, Message, Subscription

Standing = Literal["held", "not_held", "silent", "gone"]
"""Of a message at an instance; `silent`: it is connected and does not answer; `gone`: it has no connection."""
REPLY_TIMEOUT_S = 0.3
_decode = msgspec.json.Decoder(list[int]).decode


class Instances:
    """One instance's knowledge of the others that serve its queue; answers what it holds itself."""

    def __init__(self, connection: Connection, queue: str, instance: str, held: Callable[[], frozenset[int]]) -> None:
        """Prepare; answers begin with `start`.

        Args:
            held: returns the positions of the messages this instance holds.
        """
        self._connection = connection
        self._queue = queue
        self._instance = instance
        self._held = held
        self._subscriptions: list[Subscription] = []

    @property
    def held_here(self) -> int:
        """Number of messages this instance holds."""
        return len(self._held())

    async def start(self) -> None:
        """Answer questions to this instance, and those to all."""
        for subject in (subjects.instances(self._queue), subjects.instances(self._queue, self._instance)):
            self._subscriptions.append(await self._connection.subscribe(subject, self._answer))

    async def stop(self) -> None:
        """Stop answering: to the others this instance is gone."""
        for subscription in self._subscriptions:
            await subscription.unsubscribe()

    async def standing(self, instance: str, position: int, timeout_s: float = REPLY_TIMEOUT_S) -> Standing:
        """Return whether an instance holds a message.

        Args:
            timeout_s: seconds without a reply after which the instance counts as silent.

        Raises:
            NotReachableError: this process is not connected.
        """
        subject = subjects.instances(self._queue, instance)
        if not self._connection.is_connected:
            raise NotReachableError("not connected to NATS")
        try:
            reply = await self._connection.request_unchecked(subject, b"", timeout_s=timeout_s)
        except NotReachableError:
            if not self._connection.is_connected:
                raise
            return "silent"
        if reply.status == "503" and not reply.payload:
            return "gone"
        return "held" if position in _positions(reply) else "not_held"

    async def held_by_all(self) -> frozenset[int]:
        """Return the positions held by all instances that answer in time, this one included."""
        found = set(self._held())

        def collect(reply: Message) -> bool:
            found.update(_positions(reply))
            return False

        with contextlib.suppress(NotReachableError):  # how the collection ends
            await self._connection.request_many(
                subjects.instances(self._queue), b"", collect, timeout_s=REPLY_TIMEOUT_S
            )
        return frozenset(found)

    async def _answer(self, message: Message) -> None:
        if message.reply:
            with contextlib.suppress(NotReachableError):  # the question is repeated
                await self._connection.publish(message.reply, msgspec.json.encode(sorted(self._held())))


async def requeue(connection: Connection, spec: ConsumerSpec, position: int, consumer_sequence: int) -> None:
    """Have the server redeliver a message that a dead instance held, without waiting for the end of its lease.

    Args:
        consumer_sequence: of the consumer's newest delivery, see `ack_subject`.
    """
    await connection.publish(ack_subject(spec, position, consumer_sequence), b"-NAK")


def ack_subject(spec: ConsumerSpec, position: int, consumer_sequence: int) -> str:
    """Return a subject that acknowledges a message this process was not delivered.

    Args:
        consumer_sequence: of the consumer's newest delivery; the server accepts any that is not acknowledged yet, and
            finds the message by its position.
    """
    return f"$JS.ACK.{spec.stream}.{spec.name}.2.{position}.{consumer_sequence}.0.0"


def _positions(reply: Message) -> list[int]:
    try:
        return _decode(reply.payload)
    except UNDECODABLE:
        return []
