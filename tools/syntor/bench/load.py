"""Drives runs over HTTP: POST, then the event stream to its terminal event, on kept-alive connections.

The client is raw asyncio because it shares the machine with the stack it measures.
"""

from __future__ import annotations

import asyncio
import json
import time
from urllib.parse import urlsplit

import msgspec

from syntor.testing.local_stack import headers_of

TERMINAL = (b"event: run_done", b"event: run_failed", b"event: run_cancelled")


class Samples(msgspec.Struct):
    """Latencies of one measurement, and its duration."""

    latencies_s: list[float]
    elapsed_s: float

    def percentile_ms(self, fraction: float) -> float:
        """Return a percentile of the latencies, in milliseconds."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))] * 1000

    @property
    def throughput(self) -> float:
        """Completed operations per second."""
        return len(self.latencies_s) / self.elapsed_s


class RunClient:
    """One kept-alive HTTP connection that starts runs and follows each to its end."""

    def __init__(self, base_url: str, agent: str, text: str) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        body = json.dumps({"agent": agent, "input": text}).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in headers_of(base_url).items())
        head = (
            f"POST /v1/runs HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nContent-Type: application/json\r\n"
            f"Accept: text/event-stream\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        )
        self._request = head.encode() + body
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self) -> float:
        """Start one run and return the seconds until its terminal event arrived.

        Raises:
            RuntimeError: the response was no event stream, or the run was not done.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        started = time.perf_counter()
        writer.write(self._request)
        received, ended_s = b"", 0.0
        while not received.endswith(b"0\r\n\r\n"):
            data = await reader.read(65536)
            if not data:
                self._streams = None
                break
            received += data
            if not ended_s and any(mark in received for mark in TERMINAL):
                ended_s = time.perf_counter() - started
        if b" 200 " not in received[:20] or b"event: run_done" not in received:
            raise RuntimeError(f"run is not done: {received[-2000:]!r}")
        if b"connection: close" in received[:500].lower():
            await self.close()
        return ended_s

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def measure(base_url: str, *, agent: str, text: str, concurrency: int, runs: int) -> Samples:
    """Complete `runs` runs with `concurrency` clients and return their latencies."""
    clients = [RunClient(base_url, agent, text) for _ in range(concurrency)]
    remaining = iter(range(runs))
    latencies: list[float] = []

    async def work(client: RunClient) -> None:
        for _ in remaining:
            latencies.append(await client.run())
        await client.close()

    started = time.perf_counter()
    await asyncio.gather(*(work(client) for client in clients))
    return Samples(latencies, time.perf_counter() - started)
