"""The HTTP server: uvicorn without its signal handling, on a socket that is bound before anything else starts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator

import uvicorn

from syntor.contracts.errors import ConfigurationError
from syntor.ingress.exchange import Receive, Scope, Send

KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that they close first and lose no request
STOP_S = 15  # for answers under way; streams end at once
UNREAD_S = 60  # a client that reads nothing for so long has its connection closed by the kernel
BACKLOG = 2048

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        ConfigurationError: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections inherit it
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_S * 1000)
    try:
        taken.bind((host, port))
        taken.listen(BACKLOG)
    except OSError as exc:
        taken.close()
        raise ConfigurationError(f"SYNTOR_HTTP_HOST={host!r} SYNTOR_HTTP_PORT={port}: {exc.strerror}") from exc
    taken.setblocking(False)
    return taken


class HttpServer(uvicorn.Server):
    """Serves an application until told to stop."""

    def __init__(
        self, application: Application, taken: socket.socket, *, tls_cert: str = "", tls_key: str = ""
    ) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http="httptools",
                loop="none",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_S,
                backlog=BACKLOG,
                ssl_certfile=tls_cert or None,
                ssl_keyfile=tls_key or None,
            )
        )
        self._taken = taken
        self._stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """Port it listens on."""
        port: int = self._taken.getsockname()[1]
        return port

    async def run_until_stopped(self) -> None:
        """Serve; returns after `stop` when all answers are sent or their time is up."""
        await self.serve(sockets=[self._taken])

    def stop(self) -> None:
        """Take no more connections and finish."""
        self.should_exit = True
        self._stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the process."""
        yield

    async def main_loop(self) -> None:
        """Keep the Date header right, once a second, until told to stop."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)
