"""HTTP requests of commands: JSON in and out, and event streams that survive a restart of the server."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Generator
from contextlib import closing
from typing import Any, TypeVar

import httpx2
import msgspec

from syntor.cli.credentials import authorization
from syntor.cli.event import Event, decode_event
from syntor.cli.problem import ProblemError
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import ConfigurationError, InfrastructureError, MalformedMessageError, NotReachableError
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.runtime.proxies import trusts_environment
from syntor.runtime.sse import SseParser
from syntor.stack.layout import home_folder
from syntor.stack.running import ensure_running

T = TypeVar("T")
_RETRY_DELAYS_S = (0.1, 0.2, 0.5, 1.0)
_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
_STREAM_TIMEOUT = httpx2.Timeout(45.0, connect=5.0)  # the server sends a comment every 15 s
_JSON = {"Content-Type": "application/json"}


class _ProblemDocument(msgspec.Struct, frozen=True):
    """What is read of a problem document; a proxy in between may send another body."""

    detail: str = ""
    title: str = ""
    code: str = ""


class _Gap(msgspec.Struct, frozen=True):
    """Data of a `gap` event: the server dropped a slow client."""

    resume_after: int


class _Received(msgspec.Struct):
    """What a client has received of a stream, over all its connections."""

    position: int | None
    """Position to resume after; None: the server decides."""


class Transport:
    """Connection to one server."""

    def __init__(self, base_url: str, *, reconnect_s: float) -> None:
        """Prepare.

        Args:
            reconnect_s: how long a stream tries to reconnect.
        """
        self.base_url: str = base_url
        self._reconnect_s = reconnect_s
        self._client: Any = _client(base_url)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def get(self, path: str, reply: type[T], **parameters: str | int | None) -> T:
        """Return the decoded response; parameters that are None or empty are left out.

        Raises:
            ProblemError: the server refused the request.
            NotReachableError: the server is unavailable.
        """
        chosen = {name: value for name, value in parameters.items() if value not in (None, "")}
        return self._request("GET", path, reply, params=chosen or None)  # empty ones would remove those in the path

    def post(self, path: str, body: object, reply: type[T], *, idempotency_key: str = "") -> T:
        """Send a JSON body and return the decoded response; errors as `get`."""
        headers = _JSON | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        return self._request("POST", path, reply, content=msgspec.json.encode(body), headers=headers)

    def delete(self, path: str, reply: type[T]) -> T:
        """Delete a resource and return the decoded response; errors as `get`."""
        return self._request("DELETE", path, reply)

    def events(self, path: str, after: int | None = None, *, of_run: bool = False) -> Generator[Event, None, None]:
        """Yield the events of a stream; after a disconnect it resumes after the last event.

        Args:
            after: position to resume after; None: as the server decides.
            of_run: end with the terminal event of the run.

        Raises:
            ProblemError: the server refused the request.
            NotReachableError: the server stayed unavailable.
        """
        received, failing_since, delays = _Received(after), 0.0, iter(_RETRY_DELAYS_S)
        while True:
            try:
                with closing(self._stream(path, received)) as stream:
                    for event in stream:
                        failing_since, delays = 0.0, iter(_RETRY_DELAYS_S)
                        received.position = event.position
                        yield event
                        if of_run and event.type in TERMINAL_RUN_TYPES:
                            return
            except _EndedError:
                return
            except httpx2.TransportError as exc:
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > self._reconnect_s:
                    reason = exc or type(exc).__name__
                    raise NotReachableError(f"{self.base_url} stayed unavailable: {reason}") from exc
                self._follow_stack()
            time.sleep(next(delays, _RETRY_DELAYS_S[-1]))

    def _stream(self, path: str, received: _Received) -> Generator[Event, None, None]:
        """Yield the events of one connection."""
        headers = {"Accept": "text/event-stream"}
        if received.position is not None:
            headers["Last-Event-ID"] = str(received.position)
        with self._client.stream("GET", path, headers=headers, timeout=_STREAM_TIMEOUT) as response:
            if response.status_code == 204:
                raise _EndedError
            if response.status_code == 503:
                raise httpx2.RemoteProtocolError("the server is not ready")
            _check(response)
            parser = SseParser()
            for chunk in response.iter_bytes():
                for sent in parser.feed(chunk):
                    data = sent.data.encode()
                    if sent.name == "gap":
                        received.position = msgspec.json.decode(data, type=_Gap).resume_after
                        return
                    yield decode_event(data)
                if parser.last_event_id.isdecimal():
                    received.position = int(parser.last_event_id)

    def _request(self, method: str, path: str, reply: type[T], **more: Any) -> T:
        try:
            response = self._client.request(method, path, **more)
        except httpx2.TransportError as exc:
            reason = exc or type(exc).__name__
            raise NotReachableError(
                f"Syntor is not reachable at {self.base_url} ({reason}); start it: syntor up"
            ) from exc
        _check(response)
        try:
            return msgspec.json.decode(response.content, type=reply)
        except UNDECODABLE as exc:
            raise MalformedMessageError(
                f"{method} {path}: the response of {self.base_url} is not a {reply.__name__} ({exc}); "
                "does the server have another version?"
            ) from exc

    def _follow_stack(self) -> None:
        """Look the stack's address up again: a restarted one may have another port."""
        if "SYNTOR_URL" in os.environ:
            return
        try:
            url = ensure_running(home_folder(os.environ))
        except InfrastructureError:
            return  # still starting; retried
        if url != self.base_url:
            self.close()
            self.base_url = url
            self._client = _client(url)


class _EndedError(Exception):
    """The stream has no more events."""


def _client(base_url: str) -> Any:
    authority = os.environ.get("SYNTOR_TLS_CA", "")
    try:
        verify = ssl.create_default_context(cafile=authority) if authority else True
    except OSError as exc:
        raise ConfigurationError(f"SYNTOR_TLS_CA={authority!r}: {exc.strerror or exc}") from exc
    options: dict[str, Any] = {"headers": authorization(base_url), "trust_env": trusts_environment(base_url)}
    return httpx2.Client(base_url=base_url, timeout=_TIMEOUT, verify=verify, **options)


def _check(response: httpx2.Response) -> None:
    if response.status_code < 400:
        return
    body = response.read()
    try:
        problem = msgspec.json.decode(body, type=_ProblemDocument)
    except UNDECODABLE:
        problem = _ProblemDocument(detail=body[:200].decode("utf-8", "replace"))
    detail = problem.detail or problem.title or str(response.status_code)
    raise ProblemError(response.status_code, problem.code, detail)
