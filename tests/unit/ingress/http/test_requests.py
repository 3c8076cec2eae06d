"""Requests are read within their limits; traces continue; only programs and the server's own pages are served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from syntor.contracts.errors import ConfigurationError, InvalidInputError, NotFoundError
from syntor.ingress.http.body import MAX_BODY_BYTES, read_body
from syntor.ingress.http.bounds import Cursor
from syntor.ingress.http.context import attach, context_of
from syntor.ingress.http.errors import ForbiddenError, InvalidFieldsError, TooLargeError, UnsupportedMediaTypeError
from syntor.ingress.http.operation import prefers_events
from syntor.ingress.http.origin import OriginCheck
from syntor.ingress.http.parameters import PATH_PARAMETERS, Query, QueryReader, read_text
from syntor.ingress.settings import read_ingress_settings

JSON = (b"content-type", b"application/json")


def request(*headers: tuple[bytes, bytes], parts: list[bytes] | None = None, disconnected: bool = False) -> Request:
    """A request whose body arrives in these parts; where `disconnected`, the client leaves after them."""
    waiting = list(parts if parts is not None else [b""])

    async def receive() -> Message:
        if not waiting:
            return {"type": "http.disconnect"}
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(waiting) or disconnected}

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": list(headers)}
    attach(scope)
    return Request(scope, receive)


async def test_a_body_in_parts_is_put_together() -> None:
    assert await read_body(request(JSON, parts=[b'{"a"', b":", b"1}"])) == b'{"a":1}'


@pytest.mark.parametrize("parts", [[b"x" * (MAX_BODY_BYTES + 1)], [b"x" * 65536] * 17, [b"x" * 65536] * 200])
async def test_a_body_over_the_limit_is_refused_announced_or_not(parts: list[bytes]) -> None:
    with pytest.raises(TooLargeError):
        await read_body(request(JSON, parts=parts))
    length = (b"content-length", str(sum(map(len, parts))).encode())
    with pytest.raises(TooLargeError):
        await read_body(request(JSON, length, parts=parts))


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    length = (b"content-length", str(MAX_BODY_BYTES).encode())
    assert len(await read_body(request(JSON, length, parts=[b"x" * MAX_BODY_BYTES]))) == MAX_BODY_BYTES


async def test_a_client_that_expects_100_continue_is_refused_before_it_sends() -> None:
    headers = [(b"content-length", b"2000000"), (b"expect", b"100-continue")]
    with pytest.raises(TooLargeError):
        await read_body(request(*headers, parts=[]))


async def test_a_client_that_disconnects_before_its_body_is_complete_is_noticed() -> None:
    with pytest.raises(ClientDisconnect):
        await read_body(request(JSON, parts=[b"{"], disconnected=True))


@pytest.mark.parametrize("kind", [b"application/x-www-form-urlencoded", b"text/plain", b"multipart/form-data"])
async def test_another_content_type_is_refused(kind: bytes) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        await read_body(request((b"content-type", kind), parts=[b"{}"]))


@pytest.mark.parametrize("kind", [b"application/json; charset=utf-8", b"application/cloudevents+json", b""])
async def test_json_under_its_names_is_taken(kind: bytes) -> None:
    assert await read_body(request((b"content-type", kind), parts=[b"{}"])) == b"{}"


def test_a_trace_is_continued_with_a_new_span() -> None:
    given = b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01"
    one = context_of(request((b"traceparent", given)))
    assert one.trace_id == "ab" * 16
    assert one.traceparent.startswith(f"00-{one.trace_id}-")
    assert one.traceparent.endswith("-01")
    assert "cd" * 8 not in one.traceparent


@pytest.mark.parametrize("given", [b"", b"rubbish", b"00-" + b"0" * 32 + b"-" + b"cd" * 8 + b"-01"])
def test_without_a_valid_trace_a_fresh_one_begins(given: bytes) -> None:
    one, other = (context_of(request((b"traceparent", given))) for _ in range(2))
    assert len(one.trace_id) == 32
    assert one.trace_id != other.trace_id


class Page(Query, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=10)] = 5
    after: Annotated[str, Meta(max_length=3)] = ""
    kind: Literal["", "a", "b"] = ""
    name: Annotated[list[Annotated[str, Meta(max_length=3)]], Meta(max_length=2)] = []


def faults(query: str) -> dict[str, str]:
    with pytest.raises(InvalidFieldsError) as refused:
        QueryReader(Page).read(query.encode())
    return {fault.field: fault.message for fault in refused.value.faults}


def test_query_parameters_are_read_by_their_declaration() -> None:
    read = QueryReader(Page).read
    assert read(b"") == Page()
    assert read(b"limit=5&after=&name=x&name=y") == Page(name=["x", "y"])
    assert read(b"limit=1&limit=2").limit == 2


def test_unknown_and_invalid_query_parameters_are_named() -> None:
    assert faults("limt=5") == {"limt": "unknown; did you mean 'limit'?"}
    assert faults("kind=c")["kind"] == "expected one of a, b, found 'c'"
    assert list(faults("zzz=1&limit=x&after=toolong&name=1&name=2&name=3")) == ["zzz", "limit", "after", "name"]


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "0", "11", "9" * 40, "%EF%BC%91", "1.0", "1e0", "+1", "1_0"])
def test_a_number_out_of_range_is_refused(text: str) -> None:
    assert "expected a whole number from 1 to 10, found" in faults(f"limit={text}")["limit"]


@pytest.mark.parametrize("value", ["*", ">", "a.b", "x" * 65, "a\n"])
def test_what_cannot_be_an_id_is_not_found(value: str) -> None:
    with pytest.raises(NotFoundError, match="no run"):
        PATH_PARAMETERS["run_id"].check(value)


def test_the_largest_position_is_that_of_the_log() -> None:
    assert read_text("cursor", "9223372036854775807", Cursor) == 2**63 - 1
    with pytest.raises(InvalidFieldsError, match="from 0 to 9223372036854775807"):
        read_text("cursor", "9223372036854775808", Cursor)


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
def test_programs_and_own_pages_are_accepted(host: bytes, origin: bytes | None) -> None:
    headers = [(b"host", host)] + ([(b"origin", origin)] if origin is not None else [])
    OriginCheck("127.0.0.1").check(Headers(raw=headers))


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
def test_pages_of_other_origins_are_refused(host: bytes, origin: bytes | None) -> None:
    headers = [(b"host", host)] + ([(b"origin", origin)] if origin is not None else [])
    with pytest.raises(ForbiddenError):
        OriginCheck("127.0.0.1").check(Headers(raw=headers))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_an_address_other_machines_reach_is_refused_without_tokens(host: str, tmp_path: Path) -> None:
    if not host:
        assert read_ingress_settings({"SYNTOR_HTTP_HOST": ""}).http_host == "127.0.0.1"
        return
    with pytest.raises(ConfigurationError, match="there is no token yet"):
        read_ingress_settings({"SYNTOR_HTTP_HOST": host, "SYNTOR_HOME": str(tmp_path)})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_loopback_addresses_are_taken(host: str) -> None:
    assert read_ingress_settings({"SYNTOR_HTTP_HOST": host}).http_host == host


@pytest.mark.parametrize("name", ["host", "origin"])
def test_a_header_that_protects_is_sent_once(name: str) -> None:
    headers = [(b"host", b"localhost"), *[(name.encode(), b"localhost")] * 2]
    with pytest.raises(InvalidInputError, match=f"{name.capitalize()} was sent"):
        OriginCheck("127.0.0.1").check(Headers(raw=headers))


@pytest.mark.parametrize(
    ("accept", "events"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("application/json, text/event-stream", True),
        ("text/event-stream;q=0.9, application/json;q=0.1", True),
        ("text/event-stream;q=0.1, application/json", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=x", False),
        ("text/event-streams", False),
        ("application/x-text/event-stream", False),
        ("*/*", False),
        ("application/*", False),
        ("", False),
    ],
)
def test_events_are_sent_to_clients_that_prefer_them(accept: str, events: bool) -> None:
    assert prefers_events(accept) is events


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-type", b"foo/+json")],
        [(b"content-type", b"application/+json")],
        [(b"content-type", b"application/json; charset=latin-1")],
        [JSON, (b"content-encoding", b"gzip")],
    ],
)
async def test_what_is_no_json_in_utf_8_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        await read_body(request(*headers, parts=[b"{}"]))
