"""Every route is one row: routing, reading and the OpenAPI document follow from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast, get_type_hints

import jsonschema
import msgspec
import pytest
from starlette.requests import Request
from starlette.types import Message

from syntor.ingress.api.table import route_table
from syntor.ingress.gateway import Gateway
from syntor.ingress.http.access import Access, Scope
from syntor.ingress.http.application import build_application
from syntor.ingress.http.openapi import RESPONSE_HEADERS, TAGS, build_document
from syntor.ingress.http.operation import Operation
from syntor.ingress.http.origin import OriginCheck
from syntor.ingress.http.parameters import Query
from syntor.ingress.http.problems import KINDS
from syntor.runtime.local_key import KeyFile
from syntor.runtime.tokens import TokenFile

TABLE = route_table(cast("Gateway", None), agent_timeout_s=1.0)
NO_HOME = Path("/nonexistent")
DOCUMENT = build_document(TABLE)
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")


class Unchecked(Access):
    """Access control that accepts every request: these tests are about what comes after it."""

    def check(self, request: Request, scope: Scope, *, may_repeat: bool = False) -> None:
        """Do nothing."""


def described() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


async def fetch(
    method: str, path: str, *, query: bytes = b"", max_requests: int = 0
) -> tuple[int, dict[str, str], Any]:
    """Send a request through the whole application; return status, headers and JSON body."""
    application = build_application(
        TABLE, Unchecked(TokenFile(NO_HOME), KeyFile(NO_HOME)), OriginCheck("127.0.0.1"), max_requests
    )
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1")]
    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": headers, "root_path": ""}
    await application(scope, receive, send)
    start, body = sent
    return (
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        json.loads(body["body"]),
    )


@pytest.mark.parametrize(
    "path", ["/", "", "/v1", "/v1/", "/v1/runs/", "/v1/runs/r1/", "/v1/runs/r1/nothing", "/V1/runs"]
)
async def test_unknown_paths_are_not_found(path: str) -> None:
    status, headers, body = await fetch("GET", path)
    assert (status, body["code"], body["detail"]) == (404, "not_found", f"no path {path}; /docs lists them")
    assert body["trace_id"] == headers["x-trace-id"] == headers["traceparent"][3:35]


async def test_another_method_names_those_of_the_path() -> None:
    status, headers, body = await fetch("PUT", "/v1/runs")
    assert (status, headers["allow"], body["code"]) == (405, "GET, POST", "method_not_allowed")
    assert (await fetch("HEAD", "/v1/runs"))[0] == 405


async def test_a_path_that_names_no_id_is_not_found_before_anything_else() -> None:
    status, _, body = await fetch("POST", "/v1/runs/a.b/cancel")
    assert (status, body["detail"]) == (404, "no run 'a.b'")


@pytest.mark.parametrize("operation", [row for row in TABLE if row.scope], ids=lambda row: row.id)
async def test_an_unknown_query_parameter_is_refused_everywhere(operation: Operation) -> None:
    path = re.sub(r"{\w+}", "1", operation.path)
    status, _, body = await fetch(operation.method, path, query=b"nonsense=1")
    assert (status, [fault["field"] for fault in body["errors"]]) == (400, ["nonsense"])


async def test_a_bug_becomes_a_problem_with_its_trace() -> None:
    status, headers, body = await fetch("GET", "/v1/runs")  # there is no gateway
    assert (status, body["code"]) == (500, "internal")
    assert body["trace_id"] == headers["x-trace-id"]


async def test_a_handler_is_declared_with_the_query_and_the_body_of_its_row() -> None:
    for row in TABLE:
        hints = get_type_hints(row.handler)
        hints.pop("return")
        (call,) = hints.values()
        query, body = call.__args__
        assert body is (type(None) if row.body is None else row.body), row.id
        assert query is row.query, row.id


def test_the_document_has_exactly_the_routes() -> None:
    assert {(method.upper(), path) for method, path, _ in described()} == {(row.method, row.path) for row in TABLE}
    assert len({row.id for row in TABLE}) == len(TABLE)
    assert {operation["operationId"] for _, _, operation in described()} == {row.id for row in TABLE}
    assert {method for method, _, _ in described()} <= set(METHODS)


def test_every_reference_resolves_and_every_component_is_used() -> None:
    text = json.dumps(DOCUMENT)
    used = set(re.findall(r'"#/components/(\w+)/([\w-]+)"', text))
    for kind, name in used:
        assert name in DOCUMENT["components"][kind], (kind, name)
    for kind in ("schemas", "responses", "headers"):
        assert set(DOCUMENT["components"][kind]) == {name for of, name in used if of == kind}


def test_every_operation_is_described_completely() -> None:
    for _, path, operation in described():
        assert operation["summary"], path
        assert operation["description"], path
        assert set(operation["tags"]) <= set(TAGS), path
        parameters = operation.get("parameters", [])
        named = {one["name"] for one in parameters if one["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))
        assert all(one["schema"] and one["description"] for one in parameters), path
        assert any(status < "400" for status in operation["responses"]), path
        for status, response in operation["responses"].items():
            if status < "400":
                assert {"traceparent", "X-Trace-Id"} <= set(response["headers"]), path
            else:
                assert response == {"$ref": f"#/components/responses/Problem{status}"}


def test_problems_carry_the_headers_of_their_status() -> None:
    for name, response in DOCUMENT["components"]["responses"].items():
        assert int(name.removeprefix("Problem")) in {kind.status for kind in KINDS.values()}
        expected = {"401": "WWW-Authenticate", "405": "Allow", "429": "Retry-After", "503": "Retry-After"}
        assert set(response["headers"]) == {"traceparent", "X-Trace-Id"} | (
            {expected[name[-3:]]} if name[-3:] in expected else set()
        )
    assert set(RESPONSE_HEADERS) == set(DOCUMENT["components"]["headers"])


def test_the_schemas_are_json_schemas() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_examples_are_valid_and_accepted() -> None:
    for row in TABLE:
        if row.body is not None and row.example is not None:
            msgspec.convert(row.example, row.body)
            registry = {"$ref": f"#/components/schemas/{row.body.__name__}", "components": DOCUMENT["components"]}
            jsonschema.Draft202012Validator(registry).validate(row.example)


def unbounded(name: str, schema: Any, at: str = "") -> Iterator[str]:
    """Yield every number, text, list and map without a largest value or length."""
    if not isinstance(schema, dict):
        return
    known = "enum" in schema or "const" in schema or "$ref" in schema or "anyOf" in schema
    limits = {"string": ("maxLength", "pattern"), "integer": ("maximum",), "number": ("maximum",)}
    limits |= {"array": ("maxItems",)}
    kind = schema.get("type", "")
    if not known and kind in limits and not any(limit in schema for limit in limits[kind]):
        yield f"{name}{at}: {schema}"
    for key, inner in schema.get("properties", {}).items():
        yield from unbounded(name, inner, f"{at}.{key}")
    for inner in [schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", [])]:
        yield from unbounded(name, inner, f"{at}[]")


def test_everything_a_client_sends_has_bounds() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    found: list[str] = []
    waiting = [row.body.__name__ for row in TABLE if row.body is not None]
    checked: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in checked:
            checked.add(name)
            found += unbounded(name, schemas[name])
            waiting += re.findall(r"#/components/schemas/(\w+)", json.dumps(schemas[name]))
    for _, path, operation in described():
        for parameter in operation.get("parameters", []):
            found += unbounded(f"{path} {parameter['name']}", parameter["schema"])
    assert found == []


def test_every_query_parameter_is_described() -> None:
    expected = {
        "/v1/runs": {"session_id", "agent", "status", "limit", "cursor"},
        "/v1/runs/{run_id}/events": {"after", "types", "limit"},
        "/v1/runs/{run_id}/approvals": {"status", "limit", "cursor"},
        "/v1/dead_letters": {"limit", "cursor"},
        "/v1/approvals": {"session_id", "status", "limit", "cursor"},
        "/v1/sessions": {"limit", "cursor"},
        "/v1/sessions/{session_id}/messages": {"before", "limit"},
        "/v1/agents": {"capability", "status", "cursor"},
        "/v1/usage": {"group_by", "run_id", "session_id", "cursor"},
        "/v1/events": {"subject", "after"},
    }
    for method, path, operation in described():
        parameters = operation.get("parameters", [])
        named = {one["name"] for one in parameters if one["in"] == "query"}
        assert named == (expected.get(path, set()) if method == "get" else set())
    assert all(issubclass(row.query, Query) for row in TABLE)
