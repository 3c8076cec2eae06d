"""Request/reply between services with the NATS services protocol (ADR-32), so `nats micro ls|info|stats` works.

Requests are handled concurrently, each in its own task, up to `MAX_CONCURRENT`; stopping waits for those in progress.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

from syntor.contracts import errors, subjects
from syntor.contracts.clock import now
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import (
    ConfigurationError,
    ContractError,
    InfrastructureError,
    InvalidInputError,
    NotReachableError,
    SyntorError,
)
from syntor.contracts.ids import is_token, new_id
from syntor.contracts.rpc.v1 import ErrorReply
from syntor.jetstream.connection import Connection, Message, Subscription

QUEUE = "q"  # ADR-32's default queue group: one instance receives each request
MAX_CONCURRENT = 256
_HTTP_CODES = {
    "not_found": "404",
    "conflict": "409",
    "invalid_input": "400",
    "idempotency_key_reused": "422",
    "rejected": "400",
}
MAX_ERROR_TEXT = 2000  # characters
_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?\Z")
_PATH = re.compile(r" - at `\$\.([^`]+)`")  # how msgspec names the field at fault
_encode = msgspec.json.encode
_log = logging.getLogger("syntor.jetstream")

Req = TypeVar("Req", bound=msgspec.Struct)
Res = TypeVar("Res", bound=msgspec.Struct)


class Endpoint(Generic[Req, Res]):
    """One endpoint: name, request type and handler."""

    def __init__(
        self, name: str, request_type: type[Req], handler: Callable[[Req], Awaitable[Res]], description: str = ""
    ) -> None:
        if not is_token(name):
            raise ConfigurationError(f"endpoint name {name!r}: use letters, digits, '_' and '-' (ADR-32)")
        self.name = name
        self.description = description
        self.handler = handler
        self.decode = msgspec.json.Decoder(request_type).decode
        self.requests = 0
        self.errors = 0
        self.last_error = ""
        self.seconds = 0.0


class Service:
    """One instance of a service on NATS."""

    def __init__(
        self,
        connection: Connection,
        name: str,
        *,
        version: str,
        description: str,
        endpoints: list[Endpoint[Any, Any]],
        metadata: dict[str, str] | None = None,
    ) -> None:
        if not is_token(name):
            raise ConfigurationError(f"service name {name!r}: use letters, digits, '_' and '-' (ADR-32)")
        self._connection = connection
        self._name = name
        self._id = new_id()
        if not _SEMVER.match(version):  # `nats micro` silently ignores a service with another kind of version
            metadata = {"version": version, **(metadata or {})}
            version = "0.0.0"
        self._version = version
        self._description = description
        self._endpoints = endpoints
        self._metadata = metadata or {}
        self._started = now()
        self._limit = asyncio.Semaphore(MAX_CONCURRENT)
        self._subscriptions: list[Subscription] = []
        self._running: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Subscribe to requests and discovery."""
        for endpoint in self._endpoints:
            subject = subjects.request(self._name, endpoint.name)
            self._subscriptions.append(await self._connection.subscribe_direct(subject, self._starter(endpoint), QUEUE))
        for verb, response in (("PING", self._ping), ("INFO", self._info), ("STATS", self._stats)):
            for subject in (f"$SRV.{verb}", f"$SRV.{verb}.{self._name}", f"$SRV.{verb}.{self._name}.{self._id}"):
                self._subscriptions.append(await self._connection.subscribe(subject, self._discovery(response)))

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Accept no more requests and wait for those in progress; cancel those that take longer than `timeout_s`."""
        await asyncio.gather(*(subscription.drain() for subscription in self._subscriptions))
        if self._running:
            _, left = await asyncio.wait(self._running, timeout=timeout_s)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _starter(self, endpoint: Endpoint[Any, Any]) -> Callable[[Message], None]:
        def start(message: Message) -> None:
            task = asyncio.create_task(self._serve(endpoint, message))
            self._running.add(task)
            task.add_done_callback(functools.partial(self._ended, endpoint, message))

        return start

    def _ended(self, endpoint: Endpoint[Any, Any], message: Message, task: asyncio.Task[None]) -> None:
        """Reply with an error for a handler that raised: its defect concerns this request only."""
        self._running.discard(task)
        if task.cancelled() or (exc := task.exception()) is None:
            return
        _log.error("request_failed: %s.%s", self._name, endpoint.name, exc_info=exc)
        failure = SyntorError(f"{self._name}.{endpoint.name} failed: {type(exc).__name__}")
        replying = asyncio.create_task(self._reply(message, *_error_reply(endpoint, failure)))
        self._running.add(replying)
        replying.add_done_callback(self._running.discard)

    async def _serve(self, endpoint: Endpoint[Any, Any], message: Message) -> None:
        async with self._limit:
            began = time.perf_counter()
            headers: dict[str, str] | None = None
            try:
                payload = _encode(await endpoint.handler(endpoint.decode(message.payload or b"{}")))
            except msgspec.ValidationError as exc:
                path = _PATH.search(str(exc))
                error = InvalidInputError(f"{endpoint.name}: {exc}", field=path[1] if path else "")
                payload, headers = _error_reply(endpoint, error)
            except UNDECODABLE as exc:
                payload, headers = _error_reply(endpoint, InvalidInputError(f"{endpoint.name}: not JSON: {exc}"))
            except SyntorError as exc:
                payload, headers = _error_reply(endpoint, exc)
            finally:
                endpoint.requests += 1
                endpoint.seconds += time.perf_counter() - began
        try:
            await self._reply(message, payload, headers)
        except ContractError as exc:
            await self._reply(message, *_error_reply(endpoint, exc))

    async def _reply(self, message: Message, payload: bytes, headers: dict[str, str] | None) -> None:
        if message.reply:
            with contextlib.suppress(NotReachableError):  # the caller times out
                await self._connection.publish(message.reply, payload, "", headers)

    def _discovery(self, response: Callable[[], dict[str, Any]]) -> Callable[[Message], Awaitable[None]]:
        async def reply(message: Message) -> None:
            if message.reply:
                await self._connection.publish(message.reply, _encode(response()))

        return reply

    def _identity(self, kind: str) -> dict[str, Any]:
        return {
            "name": self._name,
            "id": self._id,
            "version": self._version,
            "metadata": self._metadata,
            "type": f"io.nats.micro.v1.{kind}_response",
        }

    def _ping(self) -> dict[str, Any]:
        return self._identity("ping")

    def _info(self) -> dict[str, Any]:
        endpoints = [
            {
                "name": endpoint.name,
                "subject": subjects.request(self._name, endpoint.name),
                "queue_group": QUEUE,
                "metadata": {"description": endpoint.description},
            }
            for endpoint in self._endpoints
        ]
        return self._identity("info") | {"description": self._description, "endpoints": endpoints}

    def _stats(self) -> dict[str, Any]:
        endpoints = [
            {
                "name": endpoint.name,
                "subject": subjects.request(self._name, endpoint.name),
                "queue_group": QUEUE,
                "num_requests": endpoint.requests,
                "num_errors": endpoint.errors,
                "last_error": endpoint.last_error,
                "processing_time": int(endpoint.seconds * 1e9),
                "average_processing_time": int(endpoint.seconds * 1e9 / max(1, endpoint.requests)),
            }
            for endpoint in self._endpoints
        ]
        return self._identity("stats") | {"started": self._started.isoformat(), "endpoints": endpoints}


def _error_reply(endpoint: Endpoint[Any, Any], error: SyntorError) -> tuple[bytes, dict[str, str]]:
    endpoint.errors += 1
    endpoint.last_error = message = _shortened(str(error))
    text = message.replace("\r", " ").replace("\n", " ")
    headers = {"Nats-Service-Error-Code": _HTTP_CODES.get(error.code, "503"), "Nats-Service-Error": text or error.code}
    return _encode(ErrorReply(code=error.code, message=message, field=getattr(error, "field", ""))), headers


def _shortened(text: str) -> str:
    """Return the beginning and end of a text longer than `MAX_ERROR_TEXT`."""
    half = MAX_ERROR_TEXT // 2
    return text if len(text) <= MAX_ERROR_TEXT else f"{text[:half]} ... {text[-half:]}"


def _error_classes(root: type[SyntorError]) -> dict[str, type[SyntorError]]:
    found = {root.code: root}
    for branch in root.__subclasses__():
        found = _error_classes(branch) | found
    return found


_CLASSES = {code: kind for code, kind in _error_classes(SyntorError).items() if kind.__module__ == errors.__name__}


async def call(
    connection: Connection,
    service: str,
    endpoint: str,
    request: msgspec.Struct,
    response_type: type[Res],
    *,
    timeout_s: float = 5.0,
    traceparent: str = "",
) -> Res:
    """Call an endpoint of a service and return its response.

    Raises:
        SyntorError: the error the service replied with (NotFoundError, ConflictError, InvalidInputError, ...).
        NotReachableError: no responders, or no response in time.
    """
    headers = {"traceparent": traceparent} if traceparent else None
    subject = subjects.request(service, endpoint)
    reply = await connection.request(subject, _encode(request), timeout_s=timeout_s, headers=headers)
    if reply.headers and "Nats-Service-Error-Code" in reply.headers:
        error = msgspec.json.decode(reply.payload, type=ErrorReply)
        kind = _CLASSES.get(error.code, InfrastructureError)
        if issubclass(kind, InvalidInputError):
            raise kind(error.message, field=error.field)
        if kind is errors.RevisionConflictError:
            raise InfrastructureError(error.message)
        raise kind(error.message)
    try:
        return msgspec.json.decode(reply.payload, type=response_type)
    except UNDECODABLE as exc:
        raise InfrastructureError(f"{subject}: unreadable response: {exc}") from exc
