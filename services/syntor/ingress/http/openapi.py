"""Builds the OpenAPI 3.1 document of a route table. Everything in it comes from the rows and from their structs."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from syntor.contracts.http.v1 import Problem
from syntor.ingress.http.operation import EVENT_STREAM, HTML, JSON, Operation, Reply
from syntor.ingress.http.parameters import PATH_PARAMETERS
from syntor.ingress.http.problems import KINDS, MEDIA_TYPE
from syntor.ingress.http.schemas import describe
from syntor.ingress.http.sse import EVENT_STREAM_SCHEMAS, Event

Json = dict[str, Any]

ALWAYS = ("invalid_input", "method_not_allowed", "head_too_large", "request_timeout", "unavailable")
"""Problems any request may have."""
WITH_SCOPE = ("unauthorized", "forbidden", "too_many_requests")
WITH_BODY = ("too_large", "unsupported_media_type")
TAGS = {
    "Runs": "A request to an agent, from its input to its outcome.",
    "Events": "The log.",
    "Approvals": "Decisions and results that runs wait for.",
    "Sessions": "Runs that share a conversation.",
    "Agents": "Who can be given runs.",
    "Usage": "Tokens and cost.",
    "Dead letters": "Messages a consumer could not process.",
    "About": "This API.",
}
RESPONSE_HEADERS: dict[str, Json] = {
    "traceparent": {
        "description": "Trace context of the response (W3C): the client's trace, or a new one.",
        "required": True,
        "schema": {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"},
    },
    "X-Trace-Id": {
        "description": "Trace id; logs and events carry it.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    },
    "Location": {"description": "Path of what was created.", "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "Present where the idempotency key belongs to an earlier request.",
        "schema": {"type": "string", "const": "true"},
    },
    "Preference-Applied": {
        "description": "The preference the server followed (RFC 7240).",
        "schema": {"type": "string", "pattern": "^wait=[0-9]+$"},
    },
    "Retry-After": {
        "description": "Seconds after which the same request may succeed.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "WWW-Authenticate": {"description": "How to authenticate.", "required": True, "schema": {"type": "string"}},
    "Allow": {"description": "Methods of the path.", "required": True, "schema": {"type": "string"}},
}
_TRACE_HEADERS = ("traceparent", "X-Trace-Id")
_PROBLEM_HEADERS = {401: ("WWW-Authenticate",), 405: ("Allow",), 429: ("Retry-After",), 503: ("Retry-After",)}


def build_document(operations: list[Operation]) -> Json:
    """Return the OpenAPI document of a route table."""
    types = _types(operations)
    schemas, components = describe([*types, Problem, Event])
    components["EventPage"]["properties"]["events"]["items"] = {
        "$ref": "#/components/schemas/Event"
    }  # raw in the struct
    schema_of = {id(type_): schema for type_, schema in zip(types, schemas, strict=False)}
    paths: Json = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema_of)
    statuses = sorted({status for operation in operations for status in _problem_statuses(operation)})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Syntor",
            "version": "1",
            "description": "Runs teams of LLM agents around one append-only log. Errors are problems (RFC 9457) with a "
            "stable `code`; `/problems/{code}` explains each.",
            "contact": {"name": "Syntor"},
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This server."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, **EVENT_STREAM_SCHEMAS},
            "responses": {_problem_name(status): _problem(status) for status in statuses},
            "headers": RESPONSE_HEADERS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`syntor tokens create` creates one; on loopback none is needed.",
                }
            },
        },
    }


def _types(operations: list[Operation]) -> list[Any]:
    """Return the types of all bodies, each once."""
    found: list[Any] = []
    for operation in operations:
        for type_ in (operation.body, *(reply.schema for reply in operation.replies)):
            if type_ is not None and type_ not in found:
                found.append(type_)
    return found


def _operation(operation: Operation, schema_of: dict[int, Json]) -> Json:
    described: Json = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description + (f" Scope: `{operation.scope}`." if operation.scope else ""),
    }
    if operation.scope is None:
        described["security"] = []
    if parameters := _parameters(operation):
        described["parameters"] = parameters
    if operation.body is not None:
        content: Json = {"schema": schema_of[id(operation.body)]}
        if operation.example is not None:
            content["example"] = operation.example
        described["requestBody"] = {"required": operation.body_required, "content": {JSON: content}}
    described["responses"] = {str(reply.status): _reply(reply, schema_of) for reply in operation.replies} | {
        str(status): {"$ref": f"#/components/responses/{_problem_name(status)}"}
        for status in _problem_statuses(operation)
    }
    return described


def _parameters(operation: Operation) -> list[Json]:
    found: list[Json] = []
    for name in operation.path_parameters:
        parameter = PATH_PARAMETERS[name]
        found.append(_parameter("path", name, parameter.annotation, f"Id of the {parameter.noun}."))
    query = describe([operation.query])[1][operation.query.__name__]
    for name, schema in cast("Json", query["properties"]).items():
        found.append(_described("query", name, schema))
    for header in operation.headers:
        found.append(_parameter("header", header.name, header.annotation, header.description))
    return found


def _parameter(place: str, name: str, annotation: Any, description: str) -> Json:
    return _described(place, name, msgspec.json.schema(annotation) | {"description": description})


def _described(place: str, name: str, schema: Json) -> Json:
    rest = {key: value for key, value in schema.items() if key != "description"}
    parameter: Json = {"name": name, "in": place, "schema": rest}
    if place == "path":
        parameter["required"] = True
    if "description" in schema:
        parameter["description"] = schema["description"]
    return parameter


def _reply(reply: Reply, schema_of: dict[int, Json]) -> Json:
    described: Json = {"description": reply.description, "headers": _headers((*_TRACE_HEADERS, *reply.headers))}
    content: Json = {}
    if reply.schema is not None:
        content[reply.media_type] = {"schema": schema_of[id(reply.schema)]}
    if reply.media_type == HTML:
        content[HTML] = {"schema": {"type": "string"}}
    if reply.events:
        content[EVENT_STREAM] = {"schema": {"$ref": "#/components/schemas/EventStream"}}
    return described | ({"content": content} if content else {})


def _headers(names: tuple[str, ...]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem_statuses(operation: Operation) -> list[int]:
    codes = [*ALWAYS, *operation.problems]
    codes += WITH_SCOPE if operation.scope is not None else ()
    codes += WITH_BODY if operation.body is not None else ()
    if operation.path_parameters:
        codes.append("not_found")
    return sorted({KINDS[code].status for code in codes})


def _problem_name(status: int) -> str:
    return f"Problem{status}"


def _problem(status: int) -> Json:
    kinds = [f"{kind.title} (`{code}`)" for code, kind in KINDS.items() if kind.status == status]
    return {
        "description": "; ".join(kinds) + ".",
        "headers": _headers((*_TRACE_HEADERS, *_PROBLEM_HEADERS.get(status, ()))),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
