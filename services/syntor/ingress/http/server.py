"""The HTTP server: uvicorn without its signal handling, on a socket that is bound before anything else starts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from syntor.contracts.errors import ConfigurationError
from syntor.ingress.http.connections import ConnectionLimits, limited_protocol

KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that they close first and lose no request
STOP_S = 15  # for responses in progress; streams end immediately
UNREAD_S = 60  # the kernel closes the connection of a client that acknowledges nothing for that long
BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        ConfigurationError: the address is in use, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections inherit it
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_S * 1000)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as exc:
        listening.close()
        raise ConfigurationError(f"SYNTOR_HTTP_HOST={host!r} SYNTOR_HTTP_PORT={port}: {exc.strerror}") from exc
    listening.setblocking(False)
    return listening


class HttpServer(uvicorn.Server):
    """Serves an application until `stop` is called."""

    def __init__(
        self,
        application: ASGIApp,
        listening: socket.socket,
        *,
        tls_cert: str = "",
        tls_key: str = "",
        limits: ConnectionLimits | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=limited_protocol(limits or ConnectionLimits()),
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
        self._listening = listening
        self._stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """Port the server listens on."""
        port: int = self._listening.getsockname()[1]
        return port

    async def run_until_stopped(self) -> None:
        """Serve; returns after `stop`, once all responses are sent or their time has passed."""
        await self.serve(sockets=[self._listening])

    def stop(self) -> None:
        """Accept no more connections, and let `run_until_stopped` return."""
        self.should_exit = True
        self._stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Install no signal handlers: `syntor.runtime.process` has them."""
        yield

    async def main_loop(self) -> None:
        """Update the Date header once a second until `stop` is called."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)
