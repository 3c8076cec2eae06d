"""Reads stored messages by direct get (ADR-31): one, the last of a subject, ranges, and the last of each subject.

Returns undecoded messages; the store decodes. Retries while the server is unavailable, up to `READ_RETRY_S`.

Any replica serves a direct get, including one that lags behind. On a replicated stream the end of each read is
therefore checked with the leader, so that a read after an append or a delivery includes that message.
"""

from __future__ import annotations

import asyncio
import base64
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

from syntor.contracts.errors import InfrastructureError, NotFoundError, NotReachableError
from syntor.eventsourcing.store import RawEvent
from syntor.jetstream.admin import api, replicas_of, stream_state
from syntor.jetstream.client import parse_headers
from syntor.jetstream.connection import Connection, Message

READ_RETRY_S = 10.0  # a leader change or a restart of the server takes this long at most
_BATCH = 512  # messages per request
_BATCH_BYTES = 4 * 1024 * 1024  # limits the response time of a request for large messages
_REPLY_TIMEOUT_S = 5.0
_RETRY_EVERY_S = 0.1
_REPLICA_RETRY_S = 0.01  # a replica lags by milliseconds
_MAX_SUBJECTS = 1024  # server limit of multi_last

T = TypeVar("T")


class _Page(NamedTuple):
    """Response to one batched direct get."""

    messages: list[RawEvent]
    pending: int
    """How many more match after them."""
    up_to: int
    """Position up to which the replica evaluated a `multi_last` request."""


def _raw_event(message: Message) -> RawEvent:
    headers = message.headers or {}
    return RawEvent(
        position=int(headers["Nats-Sequence"]),
        subject=headers["Nats-Subject"],
        payload=message.payload,
        traceparent=headers.get("traceparent", ""),
        message_id=headers.get("Nats-Msg-Id", ""),
    )


class DirectReader:
    """Direct gets on one stream."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        self._subject = f"$JS.API.DIRECT.GET.{stream}"
        self._replicated: bool | None = None
        """Whether the stream has replicas; None: not read yet."""

    async def get(self, position: int) -> RawEvent | None:
        """Return the message at a position, or None."""
        return await self._one({"seq": position})

    async def last(self, filter_subject: str) -> RawEvent | None:
        """Return the last message that matches, or None."""
        return await self._one({"last_by_subj": filter_subject})

    async def first(self, filter_subject: str, after: int) -> RawEvent | None:
        """Return the first message that matches after a position, or None."""
        return await self._one({"seq": after + 1, "next_by_subj": filter_subject})

    async def last_of_each(self, filter_subjects: list[str], up_to: int | None = None) -> list[RawEvent]:
        """Return the last message of each matching subject, by position."""
        query: dict[str, Any] = {"multi_last": filter_subjects, "batch": _MAX_SUBJECTS}
        if up_to is not None:
            query["up_to_seq"] = up_to
        found: list[RawEvent] = []
        newest = await self._newest(up_to)
        while True:
            page = await self._retrying(functools.partial(self._many, query))
            if page.up_to < newest and not await self._is_empty(page, filter_subjects, up_to):
                await asyncio.sleep(_REPLICA_RETRY_S)
                continue
            found += page.messages
            if not page.pending or not page.messages:
                return found
            query |= {"seq": found[-1].position + 1, "up_to_seq": page.up_to}

    async def range(self, filter_subject: str, after: int, up_to: int | None) -> AsyncIterator[RawEvent]:
        """Yield matching messages with `after < position <= up_to`, oldest first."""
        while up_to is None or after < up_to:
            query = {"seq": after + 1, "next_by_subj": filter_subject, "batch": _BATCH, "max_bytes": _BATCH_BYTES}
            page = await self._retrying(functools.partial(self._many, query))
            for message in page.messages:
                if up_to is not None and message.position > up_to:
                    return
                after = message.position
                yield message
            if not page.pending or not page.messages:
                if (up_to is not None and after >= up_to) or not await self._is_replicated():
                    return
                newer = await self._get_from_leader({"seq": after + 1, "next_by_subj": filter_subject})
                if newer is None or (up_to is not None and newer.position > up_to):
                    return
                after = newer.position
                yield newer

    async def everything(self, after: int, up_to: int) -> AsyncIterator[RawEvent]:
        """Yield all messages with `after < position <= up_to`, oldest first; leaves out what the server cannot read.

        Made for a damaged stream, where a consumer waits indefinitely and a filtered read ends early: behind what
        cannot be read, it searches for the next position that can.
        """
        while after < up_to:
            try:
                page = await self._many({"seq": after + 1, "batch": _BATCH, "max_bytes": _BATCH_BYTES})
            except NotReachableError:
                if not await self._connection.wait_connected(READ_RETRY_S):
                    raise
                page = _Page([], 0, 0)
            for message in page.messages:
                if message.position > up_to:
                    return
                after = message.position
                yield message
            if not page.messages:
                after = await self._next_readable(after, up_to) - 1

    async def _next_readable(self, after: int, up_to: int) -> int:
        """Return the next position with a readable message; beyond `up_to` if there is none."""
        unreadable, step = after, 1
        while (readable := min(unreadable + step, up_to)) > unreadable and await self.get(readable) is None:
            unreadable, step = readable, step * 2
        if readable == unreadable:
            return up_to + 1
        while readable - unreadable > 1:
            middle = (readable + unreadable) // 2
            if await self.get(middle) is None:
                unreadable = middle
            else:
                readable = middle
        return readable

    async def _is_replicated(self) -> bool:
        if self._replicated is None:
            read = functools.partial(replicas_of, self._connection, self._stream)
            self._replicated = await self._retrying(read) > 1
        return self._replicated

    async def _newest(self, up_to: int | None) -> int:
        """Return the position a replica must have reached for an up-to-date response; 0: not replicated, any has."""
        if not await self._is_replicated():
            return 0
        last = (await self._retrying(functools.partial(stream_state, self._connection, self._stream))).last
        return last if up_to is None else min(last, up_to)

    async def _is_empty(self, page: _Page, filter_subjects: list[str], up_to: int | None) -> bool:
        """Return whether an empty page, which does not tell its replica's position, is empty on the leader too."""
        if page.messages or page.up_to:
            return False
        lasts = [await self._get_from_leader({"last_by_subj": filter_subject}) for filter_subject in filter_subjects]
        if up_to is None:
            return not any(lasts)
        firsts = [await self._get_from_leader({"seq": 1, "next_by_subj": each}) for each in filter_subjects]
        return all(first is None or first.position > up_to for first in firsts)

    async def _get_from_leader(self, query: dict[str, Any]) -> RawEvent | None:
        async def get() -> RawEvent | None:
            try:
                message = (await api(self._connection, f"STREAM.MSG.GET.{self._stream}", query))["message"]
            except NotFoundError:
                return None
            headers = parse_headers(base64.b64decode(message.get("hdrs", "")))
            return RawEvent(
                position=int(message["seq"]),
                subject=message["subject"],
                payload=base64.b64decode(message.get("data", "")),
                traceparent=headers.get("traceparent", ""),
                message_id=headers.get("Nats-Msg-Id", ""),
            )

        return await self._retrying(get)

    async def _one(self, query: dict[str, Any]) -> RawEvent | None:
        if await self._is_replicated():
            return await self._get_from_leader(query)
        payload = msgspec.json.encode(query)

        async def get() -> RawEvent | None:
            reply = await self._connection.request_unchecked(self._subject, payload, timeout_s=_REPLY_TIMEOUT_S)
            if reply.status == "404":
                return None
            _check(reply)
            return _raw_event(reply)

        return await self._retrying(get)

    async def _many(self, query: dict[str, Any]) -> _Page:
        messages: list[RawEvent] = []

        def collect(message: Message) -> bool:
            if message.status:
                return True
            messages.append(_raw_event(message))
            return False

        payload = msgspec.json.encode(query)
        end = await self._connection.request_many(self._subject, payload, collect, timeout_s=_REPLY_TIMEOUT_S)
        if end.status == "404":
            return _Page([], 0, 0)
        if end.status != "204":  # 204 EOB ends a batch (ADR-31)
            _check(end)
        headers = end.headers or {}
        if messages and headers.get("Nats-Last-Sequence") != str(messages[-1].position):
            raise NotReachableError(f"{self._subject}: the response is incomplete")
        return _Page(messages, int(headers.get("Nats-Num-Pending", "0")), int(headers.get("Nats-UpTo-Sequence", "0")))

    async def _retrying(self, read: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READ_RETRY_S
        while True:
            try:
                return await read()
            except NotReachableError:
                if loop.time() >= deadline or self._connection.closed.done():
                    raise
            if not await self._connection.wait_connected(max(0.0, deadline - loop.time())):
                raise NotReachableError(f"not connected to NATS at {self._connection.url}")
            await asyncio.sleep(_RETRY_EVERY_S)


def _check(reply: Message) -> None:
    status = reply.status
    if status == "503":
        raise NotReachableError("the stream is unavailable (no leader, or it does not exist)")
    if status:
        raise InfrastructureError(f"direct get failed: {status} {(reply.headers or {}).get('Description', '')}")
