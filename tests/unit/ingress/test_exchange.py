"""Requests are read to their limits; traces continue; only our own pages and programs are answered."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from syntor.contracts.errors import ConfigurationError, InvalidInputError, NotFoundError
from syntor.ingress.errors import ClientGoneError, ForbiddenError, TooLargeError, UnsupportedMediaTypeError
from syntor.ingress.exchange import MAX_BODY_BYTES, Exchange, whole_number
from syntor.ingress.origin import OriginCheck
from syntor.ingress.settings import read_ingress_settings

JSON = (b"content-type", b"application/json")


def exchange(*headers: tuple[bytes, bytes], parts: list[bytes] | None = None, query: bytes = b"") -> Exchange:
    """A request whose body arrives in these parts; None: the client goes away before it is whole."""
    waiting = list(parts or [b""])

    async def receive() -> MutableMapping[str, Any]:
        if not waiting:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(_: MutableMapping[str, Any]) -> None:
        raise AssertionError("nothing is answered here")

    scope = {"method": "POST", "path": "/", "query_string": query, "headers": list(headers)}
    return Exchange(scope, receive, send)


async def test_a_body_in_parts_is_put_together() -> None:
    assert await exchange(JSON, parts=[b'{"a"', b":", b"1}"]).body() == b'{"a":1}'


@pytest.mark.parametrize("parts", [[b"x" * (MAX_BODY_BYTES + 1)], [b"x" * 65536] * 17, [b"x" * 65536] * 200])
async def test_a_body_over_the_limit_is_refused_announced_or_not(parts: list[bytes]) -> None:
    with pytest.raises(TooLargeError):
        await exchange(JSON, parts=parts).body()
    length = (b"content-length", str(sum(map(len, parts))).encode())
    with pytest.raises(TooLargeError):
        await exchange(JSON, length, parts=parts).body()


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    length = (b"content-length", str(MAX_BODY_BYTES).encode())
    assert len(await exchange(JSON, length, parts=[b"x" * MAX_BODY_BYTES]).body()) == MAX_BODY_BYTES


async def test_a_client_that_waits_for_leave_is_refused_before_it_sends() -> None:
    headers = [(b"content-length", b"2000000"), (b"expect", b"100-continue")]
    with pytest.raises(TooLargeError):
        await exchange(*headers, parts=[]).body()


async def test_a_client_that_goes_before_its_body_is_whole_gets_no_answer() -> None:
    gone = exchange(JSON, parts=[b"{"])
    gone._receive = _disconnected
    with pytest.raises(ClientGoneError):
        await gone.body()


async def _disconnected() -> MutableMapping[str, Any]:
    return {"type": "http.disconnect"}


@pytest.mark.parametrize("kind", [b"application/x-www-form-urlencoded", b"text/plain", b"multipart/form-data"])
async def test_another_content_type_is_refused(kind: bytes) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        await exchange((b"content-type", kind), parts=[b"{}"]).body()


@pytest.mark.parametrize("kind", [b"application/json; charset=utf-8", b"application/cloudevents+json", b""])
async def test_json_under_its_names_is_taken(kind: bytes) -> None:
    assert await exchange((b"content-type", kind), parts=[b"{}"]).body() == b"{}"


def test_a_trace_is_continued_with_a_span_of_our_own() -> None:
    given = b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01"
    one = exchange((b"traceparent", given))
    assert one.trace_id == "ab" * 16
    assert one.traceparent.startswith(f"00-{one.trace_id}-")
    assert one.traceparent.endswith("-01")
    assert "cd" * 8 not in one.traceparent


@pytest.mark.parametrize("given", [b"", b"rubbish", b"00-" + b"0" * 32 + b"-" + b"cd" * 8 + b"-01"])
def test_without_a_valid_trace_a_fresh_one_begins(given: bytes) -> None:
    one, other = exchange((b"traceparent", given)), exchange((b"traceparent", given))
    assert len(one.trace_id) == 32
    assert one.trace_id != other.trace_id


def test_unknown_query_parameters_are_refused() -> None:
    assert exchange(query=b"limit=5&after=").query("limit", "after") == {"limit": "5", "after": ""}
    with pytest.raises(InvalidInputError, match="did you mean 'limit'"):
        exchange(query=b"limt=5").query("limit", "after")


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "0", "11", "9" * 40, "\uff11"])
def test_a_number_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="limit"):
        whole_number({"limit": text}, "limit", 5, 1, 10)


@pytest.mark.parametrize("value", ["*", ">", "a.b", "x" * 65])
def test_what_cannot_be_an_id_is_not_found(value: str) -> None:
    one = exchange()
    one.parameters["run_id"] = value
    with pytest.raises(NotFoundError, match="no run"):
        one.token("run_id", "run")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (b"127.0.0.1:8420", None),
        (b"localhost:8420", None),
        (b"LOCALHOST", None),
        (b"[::1]:8420", None),
        (b"", None),
        (b"localhost:8420", b"http://localhost:8420"),
    ],
)
def test_programs_and_our_own_pages_pass(host: bytes, origin: bytes | None) -> None:
    headers = [(b"host", host)] + ([(b"origin", origin)] if origin is not None else [])
    OriginCheck("127.0.0.1").check(exchange(*headers))


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (b"evil.example", None),
        (b"localhost.evil.example:8420", None),
        (b"127.0.0.1.evil.example", None),
        (b"localhost:8420", b"http://evil.example"),
        (b"localhost:8420", b"http://localhost:3000"),
        (b"localhost:8420", b"null"),
        (b"localhost:8420", b""),
        (b"", b"null"),
    ],
)
def test_pages_of_others_are_refused(host: bytes, origin: bytes | None) -> None:
    headers = [(b"host", host)] + ([(b"origin", origin)] if origin is not None else [])
    with pytest.raises(ForbiddenError):
        OriginCheck("127.0.0.1").check(exchange(*headers))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_an_address_others_can_reach_is_refused_without_tokens(host: str, tmp_path: Path) -> None:
    if not host:
        assert read_ingress_settings({"SYNTOR_HTTP_HOST": ""}).http_host == "127.0.0.1"
        return
    with pytest.raises(ConfigurationError, match="there is no token yet"):
        read_ingress_settings({"SYNTOR_HTTP_HOST": host, "SYNTOR_HOME": str(tmp_path)})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_loopback_addresses_are_taken(host: str) -> None:
    assert read_ingress_settings({"SYNTOR_HTTP_HOST": host}).http_host == host
