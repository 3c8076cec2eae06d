"""Services handle requests concurrently, are discovered by the NATS services protocol, and drain on stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import msgspec
import pytest

from syntor.contracts.errors import (
    ConfigurationError,
    ConflictError,
    IdempotencyError,
    InfrastructureError,
    InvalidInputError,
    LogBehindError,
    NotFoundError,
    NotReachableError,
    RevisionConflictError,
    StorageFullError,
    SyntorError,
)
from syntor.jetstream.connection import Connection, connect
from syntor.jetstream.requests import Endpoint, Service, call
from syntor.testing.nats_server import NatsServer

ON_BOTH = pytest.mark.parametrize("connection", ["real", "simulated"], indirect=True)

DEADLINE_S = 10.0


class Echo(msgspec.Struct, frozen=True):
    text: str


class Echoed(msgspec.Struct, frozen=True):
    text: str


NAME = {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$", "minLength": 1}
SEMVER = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$"
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT = {"type": "integer", "minimum": 0}
RFC3339 = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"


def reply_schema(kind: str, required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    """Describe a discovery reply as ADR-32 does; clients silently ignore what does not match."""
    return {
        "type": "object",
        "required": ["type", "name", "id", "version", *required],
        "properties": {
            "type": {"const": f"io.nats.micro.v1.{kind}_response"},
            "name": NAME,
            "id": {"type": "string", "minLength": 1},
            "version": {"type": "string", "pattern": SEMVER},
            "metadata": LABELS,
            **properties,
        },
    }


def endpoints_schema(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    common = {"name": NAME, "subject": {"type": "string", "minLength": 1}, "queue_group": {"const": "q"}}
    return {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name", "subject", *required],
            "properties": common | properties,
        },
    }


SCHEMAS = {
    "PING": reply_schema("ping", [], {}),
    "INFO": reply_schema(
        "info",
        ["description", "endpoints"],
        {"description": {"type": "string"}, "endpoints": endpoints_schema([], {"metadata": LABELS})},
    ),
    "STATS": reply_schema(
        "stats",
        ["started", "endpoints"],
        {
            "started": {"type": "string", "pattern": RFC3339},
            "endpoints": endpoints_schema(
                ["num_requests", "num_errors", "last_error", "processing_time", "average_processing_time"],
                {
                    "num_requests": COUNT,
                    "num_errors": COUNT,
                    "last_error": {"type": "string"},
                    "processing_time": COUNT,
                    "average_processing_time": COUNT,
                },
            ),
        },
    ),
}


class Server:
    """A service whose handlers behave as the test sets them."""

    def __init__(self, connection: Connection) -> None:
        self.started: asyncio.Queue[str] = asyncio.Queue()
        self.release = asyncio.Event()
        self.error: Exception | None = None
        self.service = Service(
            connection,
            "tester",
            version="1.2.3",
            description="Serves tests",
            endpoints=[
                Endpoint("echo", Echo, self._echo, "Returns the text"),
                Endpoint("wait", Echo, self._wait, "Responds when released"),
                Endpoint("fail", Echo, self._fail, "Raises the given error"),
            ],
            metadata={"instance": "i1"},
        )

    async def _echo(self, request: Echo) -> Echoed:
        return Echoed(request.text)

    async def _wait(self, request: Echo) -> Echoed:
        self.started.put_nowait(request.text)
        await self.release.wait()
        return Echoed(request.text)

    async def _fail(self, _: Echo) -> Echoed:
        assert self.error is not None
        raise self.error


@pytest.fixture
async def server(connection: Connection) -> AsyncIterator[Server]:
    started = Server(connection)
    await started.service.start()
    yield started
    started.release.set()
    await started.service.stop(1.0)


async def ask(connection: Connection, endpoint: str, text: str = "hi", timeout_s: float = 5.0) -> Echoed:
    return await call(connection, "tester", endpoint, Echo(text), Echoed, timeout_s=timeout_s)


@ON_BOTH
async def test_a_request_gets_its_response(connection: Connection, server: Server) -> None:
    assert await ask(connection, "echo", "hällo") == Echoed("hällo")


@ON_BOTH
async def test_requests_are_handled_concurrently(connection: Connection, server: Server) -> None:
    calls = [asyncio.create_task(ask(connection, "wait", str(number))) for number in range(50)]

    started = {await asyncio.wait_for(server.started.get(), DEADLINE_S) for _ in range(50)}
    server.release.set()

    assert started == {str(number) for number in range(50)}
    assert [response.text for response in await asyncio.gather(*calls)] == [str(number) for number in range(50)]


async def test_one_of_two_instances_responds(nats_server: NatsServer, connection: Connection, server: Server) -> None:
    other_connection = await connect(nats_server.url, "syntor/other")
    other = Server(other_connection)
    await other.service.start()
    await other_connection.flush()

    await asyncio.gather(*(ask(connection, "echo") for _ in range(100)))

    counts = [endpoint.requests for each in (server, other) for endpoint in each.service._endpoints[:1]]
    assert sum(counts) == 100
    assert all(counts)
    await other.service.stop()
    await other_connection.close()


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("no run 'r1'"),
        ConflictError("run 'r1' has ended"),
        InvalidInputError("limit -1: expected 1 or more", field="limit"),
        IdempotencyError("the key was used"),
        StorageFullError("full"),
        LogBehindError("behind"),
        NotReachableError("the database is down\r\nInjected: yes"),
    ],
)
async def test_an_error_reaches_the_caller_with_its_type_and_field(
    connection: Connection, server: Server, error: SyntorError
) -> None:
    server.error = error

    with pytest.raises(type(error)) as caught:
        await ask(connection, "fail")

    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert getattr(caught.value, "field", None) == getattr(error, "field", None)


async def test_a_revision_conflict_reaches_the_caller_as_an_infrastructure_error(
    connection: Connection, server: Server
) -> None:
    server.error = RevisionConflictError("agent.a", 1, 2)

    with pytest.raises(InfrastructureError, match=r"agent\.a"):
        await ask(connection, "fail")


async def test_a_request_of_the_wrong_shape_is_refused(connection: Connection, server: Server) -> None:
    class Other(msgspec.Struct):
        text: int

    with pytest.raises(InvalidInputError, match=r"echo.*text") as caught:
        await call(connection, "tester", "echo", Other(1), Echoed)
    assert caught.value.field == "text"


async def test_a_response_too_large_for_the_server_is_an_error_instead_of_lost(
    connection: Connection, server: Server
) -> None:
    text = "x" * (8 * 1024 * 1024 - 300)  # the request fits; the response has more around it than is left

    class Wrapped(Echoed, frozen=True):
        more: str = "y" * 1000

    async def wrap(request: Echo) -> Wrapped:
        return Wrapped(request.text)

    service = Service(connection, "large", version="1.0.0", description="", endpoints=[Endpoint("wrap", Echo, wrap)])
    await service.start()

    with pytest.raises(SyntorError, match="cannot be sent"):
        await call(connection, "large", "wrap", Echo(text), Echoed)
    await service.stop()


async def test_a_handler_that_raises_replies_with_an_error_and_serves_the_next_request(
    connection: Connection, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.error = ZeroDivisionError("a bug with a secret in it")

    with pytest.raises(SyntorError, match=r"tester\.fail failed: ZeroDivisionError") as caught:
        await ask(connection, "fail")

    assert "secret" not in str(caught.value)
    assert "ZeroDivisionError" in caplog.text
    assert await ask(connection, "echo") == Echoed("hi")


@ON_BOTH
async def test_a_service_that_is_not_running_fails_immediately(connection: Connection) -> None:
    with pytest.raises(NotReachableError, match="is the service running"):
        await ask(connection, "echo", timeout_s=60)


@ON_BOTH
async def test_a_handler_that_takes_too_long_is_not_reachable(connection: Connection, server: Server) -> None:
    with pytest.raises(NotReachableError):
        await ask(connection, "wait", timeout_s=0.1)


async def test_stopping_completes_requests_in_progress_and_accepts_no_more(
    nats_server: NatsServer, connection: Connection, server: Server
) -> None:
    client = await connect(nats_server.url, "syntor/client")
    calls = [asyncio.create_task(ask(client, "wait", str(number))) for number in range(20)]
    await asyncio.wait_for(server.started.get(), DEADLINE_S)

    stopping = asyncio.create_task(server.service.stop())
    server.release.set()
    await asyncio.wait_for(stopping, DEADLINE_S)

    responses = list(await asyncio.gather(*calls, return_exceptions=True))
    assert Echoed("0") in responses
    assert all(isinstance(response, Echoed | NotReachableError) for response in responses)
    with pytest.raises(NotReachableError):
        await ask(client, "echo")
    await client.close()


async def test_stopping_waits_at_most_its_timeout(connection: Connection, server: Server) -> None:
    calls = asyncio.create_task(ask(connection, "wait", timeout_s=1))
    await asyncio.wait_for(server.started.get(), DEADLINE_S)

    await asyncio.wait_for(server.service.stop(timeout_s=0.05), 2)

    with pytest.raises(NotReachableError):
        await calls


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
@pytest.mark.parametrize("scope", ["all", "name", "id"])
@ON_BOTH
async def test_discovery_responses_match_the_protocol(
    connection: Connection, server: Server, verb: str, scope: str
) -> None:
    await ask(connection, "echo")
    server.error = NotFoundError("not there")
    with pytest.raises(NotFoundError):
        await ask(connection, "fail")
    suffix = {"all": "", "name": ".tester", "id": f".tester.{server.service._id}"}[scope]

    reply = await connection.request(f"$SRV.{verb}{suffix}", b"")

    response = msgspec.json.decode(reply.payload)
    jsonschema.validate(response, SCHEMAS[verb])
    assert (response["name"], response["version"], response["metadata"]) == ("tester", "1.2.3", {"instance": "i1"})
    if verb != "PING":
        assert [endpoint["subject"] for endpoint in response["endpoints"]] == [
            f"syntor.rpc.tester.{name}" for name in ("echo", "wait", "fail")
        ]
    if verb == "STATS":
        echo, _, fail = response["endpoints"]
        assert (echo["num_requests"], echo["num_errors"], echo["last_error"]) == (1, 0, "")
        assert (fail["num_requests"], fail["num_errors"], fail["last_error"]) == (1, 1, "not there")
        assert echo["processing_time"] > 0


async def test_every_instance_responds_to_discovery(
    nats_server: NatsServer, connection: Connection, server: Server
) -> None:
    other = Server(connection)
    await other.service.start()
    ids: asyncio.Queue[str] = asyncio.Queue()
    inbox = connection.new_inbox()
    await connection.subscribe_direct(inbox, lambda message: ids.put_nowait(msgspec.json.decode(message.payload)["id"]))

    await connection.publish("$SRV.PING.tester", b"", inbox)

    found = {await asyncio.wait_for(ids.get(), DEADLINE_S) for _ in range(2)}
    assert found == {server.service._id, other.service._id}
    await other.service.stop()


@pytest.mark.parametrize("name", ["", "two words", "a.b", "ä", ">"])
async def test_a_name_that_discovery_ignores_is_refused(connection: Connection, name: str) -> None:
    async def handler(request: Echo) -> Echoed:
        return Echoed(request.text)

    with pytest.raises(ConfigurationError, match="name"):
        Service(connection, name, version="1.0.0", description="", endpoints=[])
    with pytest.raises(ConfigurationError, match="name"):
        Endpoint(name, Echo, handler)


@pytest.mark.parametrize("version", ["", "1", "1.0", "v1.0.0", "01.0.0"])
async def test_a_version_that_is_not_semver_is_reported_as_metadata(connection: Connection, version: str) -> None:
    service = Service(connection, "odd", version=version, description="", endpoints=[])
    await service.start()

    response = msgspec.json.decode((await connection.request("$SRV.PING.odd", b"")).payload)

    jsonschema.validate(response, SCHEMAS["PING"])
    assert response["metadata"] == {"version": version}
    await service.stop()


async def test_a_service_responds_again_after_a_server_restart(
    nats_server: NatsServer, connection: Connection, server: Server
) -> None:
    back = asyncio.Event()
    connection.on_reconnect(back.set)

    nats_server.restart()
    await asyncio.wait_for(back.wait(), DEADLINE_S)

    assert await ask(connection, "echo") == Echoed("hi")
