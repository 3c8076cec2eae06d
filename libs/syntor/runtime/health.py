"""Liveness, readiness and metrics of a process, served on a port of its own by a server of a few lines.

A full web framework would cost each of eleven processes 15 MB; these three endpoints need none.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable

Check = Callable[[], Awaitable[str | None]]
"""Returns None when fine, else the problem and, if known, the fix."""

CHECK_TIMEOUT_S = 2.0  # a check that hangs counts as failed; probes usually time out after a few seconds
_REQUEST_LIMIT_BYTES = 8192


class Health:
    """Collects readiness checks and serves /livez, /readyz and /metrics."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._measurements: dict[str, Callable[[], Awaitable[None]]] = {}
        self._pages: dict[str, Callable[[], bytes]] = {}
        self._ready = False
        self.waits_for = ""
        """What a start waits for; empty: nothing known."""
        self._server: asyncio.Server | None = None

    def add_check(self, name: str, check: Check) -> None:
        """Add a readiness check; checks run at each probe, concurrently."""
        self._checks[name] = check

    def add_measurement(self, name: str, measure: Callable[[], Awaitable[None]]) -> None:
        """Add what sets gauges right before each scrape of /metrics; one that takes too long is left out of it."""
        self._measurements[name] = measure

    def remove_measurement(self, name: str) -> None:
        """Measure it no more."""
        self._measurements.pop(name, None)

    def add_page(self, path: str, content: Callable[[], bytes]) -> None:
        """Serve JSON under another path, for people who look into this process."""
        self._pages[path] = content

    @property
    def is_ready(self) -> bool:
        """Whether the process takes work, as far as it says itself."""
        return self._ready

    def set_ready(self, ready: bool) -> None:
        """Set whether the process takes work, whatever its checks return."""
        self._ready = ready

    async def results(self) -> dict[str, str | None]:
        """Return the result of each check, in the order they were added; `started` comes first."""
        started = None if self._ready else "not started yet, or stopping"
        if started and self.waits_for:
            started = f"waits for {self.waits_for}"
        names = list(self._checks)
        outcomes = await asyncio.gather(*(self._run(self._checks[name]) for name in names))
        return {"started": started, **dict(zip(names, outcomes, strict=True))}

    async def serve(self, host: str, port: int) -> int:
        """Listen and return the port taken (a free one when `port` is 0).

        Raises:
            OSError: the address is taken or not ours.
        """
        self._server = await asyncio.start_server(self._handle, host, port, limit=_REQUEST_LIMIT_BYTES)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    @staticmethod
    async def _run(check: Check) -> str | None:
        try:
            return await asyncio.wait_for(check(), CHECK_TIMEOUT_S)
        except TimeoutError:
            return f"no result within {CHECK_TIMEOUT_S:g} s"
        except Exception as exc:  # noqa: BLE001 - a check that raises has found a problem: the probe must report it
            return f"{type(exc).__name__}: {exc}"

    @staticmethod
    async def _measure(measure: Callable[[], Awaitable[None]]) -> None:
        try:
            await asyncio.wait_for(measure(), CHECK_TIMEOUT_S)
        except Exception as exc:  # noqa: BLE001 - the other metrics are shown all the same
            logging.getLogger("syntor.runtime").warning("measurement_failed: %s", exc)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), CHECK_TIMEOUT_S)
            method, target = request.split(b" ", 2)[:2]
            status, kind, body = await self._respond(method, target.decode("ascii", "replace"))
            head = (
                f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                f"X-Syntor-Pid: {os.getpid()}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + (b"" if method == b"HEAD" else body))
            await writer.drain()
        except asyncio.LimitOverrunError:
            writer.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        except (asyncio.IncompleteReadError, TimeoutError, ConnectionError, ValueError):
            pass  # a probe that disconnected or is not HTTP gets no response
        finally:
            writer.close()

    async def _respond(self, method: bytes, target: str) -> tuple[str, str, bytes]:
        path, _, query = target.partition("?")
        if method not in (b"GET", b"HEAD"):
            return "405 Method Not Allowed", "text/plain", b"use GET\n"
        if path == "/livez":
            return "200 OK", "text/plain", b"ok\n"
        if path == "/readyz":
            results = await self.results()
            good = all(text is None for text in results.values())
            lines = [f"[{'+' if text is None else '-'}] {name}: {text or 'ok'}" for name, text in results.items()]
            body = "\n".join(lines) if "verbose" in query or not good else "ok"
            return ("200 OK" if good else "503 Service Unavailable"), "text/plain", body.encode() + b"\n"
        if path == "/metrics":
            from syntor.metrics import rendering  # costs memory only where metrics are scraped

            await asyncio.gather(*(self._measure(each) for each in self._measurements.values()))

            return "200 OK", rendering.CONTENT_TYPE, rendering.render()
        if path in self._pages:
            return "200 OK", "application/json", self._pages[path]()
        return "404 Not Found", "text/plain", b"use /livez, /readyz?verbose or /metrics\n"
