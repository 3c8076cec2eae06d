"""A service that is only healthy; or fails as `STAND_IN_<NAME>` says."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

ANSWER = (
    f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Syntor-Pid: {os.getpid()}\r\nConnection: close\r\n\r\nok"
).encode()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say that all is well."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    await writer.drain()
    writer.close()


async def main() -> None:
    """Be healthy until told to stop."""
    stopping = asyncio.Event()
    if os.environ.get("STAND_IN") == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    server = await asyncio.start_server(answer, "127.0.0.1", int(os.environ["SYNTOR_HEALTH_PORT"]))
    await stopping.wait()
    server.close()


if os.environ.get("STAND_IN") == "unconfigured":
    sys.stderr.write("error: SYNTOR_THING='x': expected a number\n")
    sys.exit(3)
asyncio.run(main())
