"""Near its limit the server sheds a growing part of the new runs, and still serves what people do about old ones."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from syntor.contracts.errors import ConfigurationError
from syntor.ingress.http.context import attach
from syntor.ingress.http.middleware import RequestLimitMiddleware
from syntor.ingress.settings import read_ingress_settings


class Server:
    """A middleware with a limit of ten requests, of which some are being served."""

    def __init__(self, serving: int, chance: float) -> None:
        self.release = asyncio.Event()
        self.limit = RequestLimitMiddleware(self._application, 10, shed_above=0.5, chance=lambda: chance)
        self._held = [asyncio.ensure_future(self.status("GET", "/held")) for _ in range(serving)]

    async def status(self, method: str, path: str, body: asyncio.Event | None = None) -> int:
        """Send one request and return the status of its response.

        Args:
            body: set once its body is complete; None: it has none.
        """
        sent: list[Message] = []
        scope: Scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
        if body is not None:
            scope["headers"] = [(b"content-length", b"10")]
        attach(scope)

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            if body is None:
                return {"type": "http.disconnect"}
            await body.wait()
            return {"type": "http.request", "body": b"x" * 10, "more_body": False}

        await self.limit(scope, receive, send)
        status: int = sent[0]["status"]
        return status

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["headers"]:
            await receive()
        if scope["path"] == "/held":
            await self.release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def end(self) -> None:
        """End all requests."""
        self.release.set()
        await asyncio.gather(*self._held)


@pytest.mark.parametrize(
    ("serving", "chance", "status"),
    [(4, 0.0, 200), (5, 0.1, 503), (5, 0.3, 200), (8, 0.7, 503), (8, 0.9, 200), (9, 0.999, 503), (10, 1.0, 503)],
)
async def test_new_runs_are_shed_with_a_probability_that_grows(serving: int, chance: float, status: int) -> None:
    server = Server(serving, chance)
    await asyncio.sleep(0)
    for path in ("/v1/runs", "/internal/invoke", "/v1/runs/r1/retry"):
        assert await server.status("POST", path) == status
    await server.end()


async def test_what_people_do_about_runs_is_served_up_to_the_limit() -> None:
    server = Server(9, 0.0)
    await asyncio.sleep(0)
    for method, path in (("GET", "/v1/runs"), ("POST", "/v1/runs/r1/cancel"), ("POST", "/v1/runs/r1/approvals/a1")):
        assert await server.status(method, path) == 200
    await server.end()


async def test_a_request_counts_once_its_body_has_arrived() -> None:
    server, body = Server(4, 1.0), asyncio.Event()
    flood = [asyncio.ensure_future(server.status("POST", "/held", body)) for _ in range(50)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert await server.status("GET", "/v1/runs") == 200
    body.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert await server.status("GET", "/v1/runs") == 503  # six of them are served, the others refused
    await server.end()
    assert sorted(await asyncio.gather(*flood)) == [200] * 6 + [503] * 44
    assert await server.status("GET", "/v1/runs") == 200


@pytest.mark.parametrize("value", ["-0.1", "1.5", "x", "nan"])
def test_a_threshold_outside_its_bounds_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="SYNTOR_SHED_ABOVE"):
        read_ingress_settings({"SYNTOR_SHED_ABOVE": value})
