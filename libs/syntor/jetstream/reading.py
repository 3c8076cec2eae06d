"""Reads stored messages by direct get: one, the last of a subject, ranges, and the last of each subject.

Raw bytes only; decoding is the store's. Retries while the server is away, up to `READ_RETRY_S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from syntor.contracts.errors import InfrastructureError, NotReachableError
from syntor.jetstream.connection import Connection, Message

READ_RETRY_S = 10.0  # a leader change or a restart of the server takes this long at most
_BATCH = 512  # messages per request
_REPLY_TIMEOUT_S = 5.0
_RETRY_EVERY_S = 0.1
_MAX_SUBJECTS = 1024  # server limit of multi_last

T = TypeVar("T")


class StoredMessage(msgspec.Struct, frozen=True):
    """A message as the stream holds it."""

    position: int
    subject: str
    payload: bytes
    message_id: str
    traceparent: str


def _stored(message: Message) -> StoredMessage:
    headers = message.headers or {}
    return StoredMessage(
        int(headers["Nats-Sequence"]),
        headers["Nats-Subject"],
        message.payload,
        headers.get("Nats-Msg-Id", ""),
        headers.get("traceparent", ""),
    )


class DirectReader:
    """Direct gets on one stream."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._subject = f"$JS.API.DIRECT.GET.{stream}"

    async def get(self, position: int) -> StoredMessage | None:
        """Return the message at a position, or None."""
        return await self._one({"seq": position})

    async def last(self, filter_subject: str) -> StoredMessage | None:
        """Return the last message that matches, or None."""
        return await self._one({"last_by_subj": filter_subject})

    async def last_of_each(self, filter_subjects: list[str], up_to: int | None = None) -> list[StoredMessage]:
        """Return the last message of each matching subject, by position."""
        query: dict[str, Any] = {"multi_last": filter_subjects, "batch": _MAX_SUBJECTS}
        if up_to is not None:
            query["up_to_seq"] = up_to
        messages, _ = await self._retrying(lambda: self._many(query))
        return sorted(messages, key=lambda message: message.position)

    async def range(self, filter_subject: str, after: int, up_to: int | None) -> AsyncIterator[StoredMessage]:
        """Yield matching messages with `after < position <= up_to`, oldest first."""
        while up_to is None or after < up_to:
            query = {"seq": after + 1, "next_by_subj": filter_subject, "batch": _BATCH}
            messages, pending = await self._retrying(lambda query=query: self._many(query))  # type: ignore[misc]
            for message in messages:
                if up_to is not None and message.position > up_to:
                    return
                after = message.position
                yield message
            if not messages or pending == 0:
                return

    async def _one(self, query: dict[str, Any]) -> StoredMessage | None:
        payload = msgspec.json.encode(query)

        async def ask() -> StoredMessage | None:
            reply = await self._connection.ask(self._subject, payload, timeout_s=_REPLY_TIMEOUT_S)
            if reply.status == "404":
                return None
            _check(reply)
            return _stored(reply)

        return await self._retrying(ask)

    async def _many(self, query: dict[str, Any]) -> tuple[list[StoredMessage], int]:
        """Ask for many messages; return them and how many more match behind them."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        messages: list[StoredMessage] = []

        def on_message(message: Message) -> None:
            if done.done():
                return
            status = message.status
            if not status:
                messages.append(_stored(message))
            elif status == "204":
                done.set_result(int((message.headers or {}).get("Nats-Num-Pending", "0")))
            elif status == "404":
                done.set_result(0)
            else:
                try:
                    _check(message)
                except InfrastructureError as exc:
                    done.set_exception(exc)

        reply, close = await self._connection.open_replies(on_message)
        try:
            if not self._connection.is_connected:
                raise NotReachableError(f"not connected to NATS at {self._connection.url}")
            await self._connection.publish(self._subject, msgspec.json.encode(query), reply)
            pending = await asyncio.wait_for(done, _REPLY_TIMEOUT_S)
        except TimeoutError as exc:
            raise NotReachableError(f"no answer to a read of {self._subject} in time") from exc
        finally:
            close()
        return messages, pending

    async def _retrying(self, ask: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READ_RETRY_S
        while True:
            try:
                return await ask()
            except NotReachableError:
                if loop.time() >= deadline or self._connection.closed.done():
                    raise
            if not await self._connection.wait_connected(max(0.0, deadline - loop.time())):
                raise NotReachableError(f"not connected to NATS at {self._connection.url}")
            await asyncio.sleep(_RETRY_EVERY_S)


def _check(reply: Message) -> None:
    status = reply.status
    if status == "503":
        raise NotReachableError("the stream is not available (no leader, or it does not exist)")
    if status:
        raise InfrastructureError(f"read refused: {status} {(reply.headers or {}).get('Description', '')}")
