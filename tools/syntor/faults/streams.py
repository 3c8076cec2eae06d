"""Clients that follow the event streams of runs, to find streams that stay silent after the end of their run."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import httpx2
import msgspec

from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.eventsourcing.store import Recorded
from syntor.runtime.sse import Lines
from syntor.testing.local_stack import headers_of

MAX_OPEN = 6
SILENCE_S = 30.0  # longest time from the end of a run to its arrival in a stream, restarts of services included
_REFUSALS = (400, 404, 409)  # an event the log does not have (any more), or a run
_RETRY_S = 0.1
_POLL_S = 0.1
_READ_TIMEOUT_S = SILENCE_S  # comments keep an open stream alive; without any the client connects again


class _Stream(msgspec.Struct):
    """What one client has received."""

    last_id: str = ""
    ended_at: datetime | None = None
    refused: int = 0
    """Status with which it was refused: there is no such run, or the log ends before the last event received."""


class Streams:
    """Follows up to `MAX_OPEN` streams at a time until their ends, across restarts of the ingress."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._streams: dict[str, _Stream] = {}
        self._closing = threading.Event()
        self._open = threading.Semaphore(MAX_OPEN)

    @property
    def followed(self) -> int:
        """Number of streams followed so far."""
        return len(self._streams)

    def follow(self, run_id: str) -> None:
        """Follow a run's stream in a thread of its own, unless too many are open."""
        if self._open.acquire(blocking=False):
            self._streams[run_id] = _Stream()
            threading.Thread(target=self._follow, args=(run_id,), daemon=True).start()

    def silent(self, events: Iterable[Recorded], *, refusals: bool = False) -> list[str]:
        """Return a line for each stream that did not say in time that its run ended.

        Args:
            events: the log; streams of runs that ended in it have until `SILENCE_S` after their end.
            refusals: whether a stream may be refused instead: the log lost events that were sent.
        """
        ends = {
            recorded.envelope.runid: recorded.envelope.time
            for recorded in events
            if recorded.envelope.type in TERMINAL_RUN_TYPES and recorded.envelope.runid in self._streams
        }
        deadline = time.monotonic() + SILENCE_S
        while time.monotonic() < deadline and any(self._streams[run_id].ended_at is None for run_id in ends):
            time.sleep(_POLL_S)
        self._closing.set()
        return [
            line
            for run_id, at in ends.items()
            if not (refusals and self._streams[run_id].refused) and (line := self._late(run_id, at))
        ]

    def unanswered(self, run_ids: Iterable[str]) -> list[str]:
        """Return a line for each stream of runs the log has lost that was neither refused nor had ended before."""
        lost = [run_id for run_id in run_ids if run_id in self._streams]
        deadline = time.monotonic() + SILENCE_S
        while time.monotonic() < deadline and any(self._streams[run_id].ended_at is None for run_id in lost):
            time.sleep(_POLL_S)
        return [
            f"the stream of the lost run {run_id} stayed silent"
            for run_id in lost
            if self._streams[run_id].ended_at is None
        ]

    def _late(self, run_id: str, at: datetime) -> str:
        ended_at, refused = self._streams[run_id].ended_at, self._streams[run_id].refused
        if refused:
            return f"the stream of run {run_id} was refused with {refused}"
        if ended_at is None:
            last_id = self._streams[run_id].last_id
            return f"the stream of run {run_id} stayed silent after the end of the run; its last event was {last_id}"
        late_s = (ended_at - at).total_seconds()
        return f"the stream of run {run_id} was silent for {late_s:.0f} s after its end" if late_s > SILENCE_S else ""

    def _follow(self, run_id: str) -> None:
        stream = self._streams[run_id]
        try:
            with httpx2.Client(
                base_url=self._url, headers=headers_of(self._url), timeout=httpx2.Timeout(10.0, read=_READ_TIMEOUT_S)
            ) as client:
                while stream.ended_at is None and not self._closing.is_set():
                    with contextlib.suppress(httpx2.TransportError):  # continued behind the last event received
                        self._read(client, run_id, stream)
                    self._closing.wait(_RETRY_S)
        finally:
            self._open.release()

    def _read(self, client: httpx2.Client, run_id: str, stream: _Stream) -> None:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": stream.last_id} if stream.last_id else {})
        with client.stream("GET", f"/v1/runs/{run_id}/events", headers=headers) as response:
            if response.status_code == 204:  # there is nothing behind the last event received
                stream.ended_at = datetime.now(UTC)
            elif response.status_code in _REFUSALS:
                stream.ended_at, stream.refused = datetime.now(UTC), response.status_code
            if response.status_code != 200:
                return
            lines = Lines()
            for chunk in response.iter_bytes():
                for line in lines.feed(chunk):
                    name, _, value = line.partition(":")
                    if name == "id":
                        stream.last_id = value.strip()
                    elif name == "event" and value.strip() in TERMINAL_RUN_TYPES:
                        stream.ended_at = datetime.now(UTC)
                        return
