"""A TCP proxy on loopback in front of NATS that delays, resets and drops traffic; runs in its own thread.

Dropping one direction makes outcomes unknown: the ack of an append is lost, or the ack of a message, which is then
redelivered. A connection that lost bytes is reset afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import Any

from syntor.faults.takeover import PARTITION

DELAY, RESET, DROP_REPLIES, DROP_REQUESTS = "delay", "reset", "drop replies", "drop requests"
MODES = (DELAY, RESET, DROP_REPLIES, DROP_REQUESTS, PARTITION)
_CHUNK = 65536
_DELAY_S = 0.2  # each way
_START_TIMEOUT_S = 5.0
_RST = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST


class Proxy:
    """Forwards connections to one address and injects faults into them."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._mode = ""
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._listening = threading.Event()
        self.port = 0
        """Port it listens on."""
        self._thread.start()
        if not self._listening.wait(_START_TIMEOUT_S):
            raise TimeoutError("the proxy is not listening")

    def inject(self, mode: str, seconds: float) -> None:
        """Inject a fault into all connections for some seconds.

        Args:
            mode: delay (200 ms each way), reset (immediately), drop replies (what the server sends, then reset),
                drop requests (what clients send, then reset) or partition (both, then reset).
        """
        if mode != RESET:
            self._mode = mode
            threading.Event().wait(seconds)
            self._mode = ""
        if mode != DELAY:
            asyncio.run_coroutine_threadsafe(self._reset(), self._loop).result(_START_TIMEOUT_S)

    def close(self) -> None:
        """Stop listening and drop all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_TIMEOUT_S)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, to_server}
        await asyncio.gather(
            self._forward(reader, to_server, dropped_in=DROP_REQUESTS),
            self._forward(from_server, writer, dropped_in=DROP_REPLIES),
        )
        self._writers -= {writer, to_server}

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dropped_in: str) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self._mode == DELAY:
                    await asyncio.sleep(_DELAY_S)
                elif self._mode in (dropped_in, PARTITION):
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _reset(self) -> None:
        for writer in list(self._writers):
            connected: Any = writer.get_extra_info("socket")
            if connected is not None:
                with contextlib.suppress(OSError):
                    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
            writer.transport.abort()
