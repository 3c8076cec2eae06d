"""What the operations of the OpenAPI document are put together from."""

from __future__ import annotations

from typing import Any

EVENTS_PAGE = {
    "type": "object",
    "required": ["events", "next_after"],
    "properties": {
        "events": {"type": "array", "items": {"$ref": "#/components/schemas/Event"}},
        "next_after": {
            "type": ["integer", "null"],
            "description": "Give it back as `after` for the next page; null: no more events now.",
        },
    },
}
STREAM = (
    "Server-sent events: `id` is the position, `event` the type, `data` the event object. A comment every 15 s. "
    "An `event: gap` with {resume_after} asks a client that was too slow to reconnect behind that position."
)


def ref(name: str) -> dict[str, str]:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_of(name: str) -> dict[str, Any]:
    """Return JSON content of a schema."""
    return {"application/json": {"schema": ref(name)}}


def body(name: str, *, required: bool = True, example: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a request body."""
    content = json_of(name)
    if example:
        content["application/json"]["example"] = example
    return {"required": required, "content": content}


def in_path(name: str) -> dict[str, Any]:
    """Return a parameter of the path."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": f"The {name}."}


def in_query(name: str, description: str, type_: str = "string") -> dict[str, Any]:
    """Return a parameter of the query."""
    return {"name": name, "in": "query", "schema": {"type": type_}, "description": description}


def in_header(name: str, description: str) -> dict[str, Any]:
    """Return a header of the request."""
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": description}


def operation(
    tag: str,
    summary: str,
    responses: dict[str, Any],
    *,
    problems: tuple[str, ...] = (),
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
    description: str = "",
) -> dict[str, Any]:
    """Return an operation; `problems` are the statuses of its errors."""
    refused = {status: {"$ref": "#/components/responses/Problem"} for status in ("400", "401", "403", "429", *problems)}
    operation: dict[str, Any] = {"tags": [tag], "summary": summary, "responses": responses | refused}
    if description:
        operation["description"] = description
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = body
    return operation


def ok(description: str, schema: str) -> dict[str, Any]:
    """Return a good answer of a schema."""
    return {"description": description, "content": json_of(schema)}


def events_or(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that is a stream for who accepts one, else of `schema`."""
    content = {"application/json": {"schema": schema}, "text/event-stream": {"schema": {"type": "string"}}}
    return {"description": f"{description}. With Accept: text/event-stream, the events. {STREAM}", "content": content}


LIMIT = in_query("limit", "At most this many.", "integer")
CURSOR = in_query("cursor", "The `cursor` of the page before.", "integer")
AFTER = in_query("after", "Only what is behind this position.", "integer")
LAST_EVENT_ID = in_header("Last-Event-ID", "Position to resume behind; wins over `after`.")
KEY = in_header("Idempotency-Key", "The same key and body is the same run, for ever; another body is refused with 422.")
PREFER = in_header("Prefer", "`wait=N`: answer when the run has ended, at most N (60) seconds from now.")
RUN_ANSWERS = {
    "202": ok("The run is in the log; `Location` names it.", "Accepted"),
    "200": events_or("With Prefer: wait, the run that has ended", ref("RunView")),
}
EXAMPLE = {"agent": "worker", "input": "What is in this folder?", "workspace": "/home/me/project"}
AWAY = ("503",)
STATUSES = "created, running, paused_waiting_approval, paused_waiting_tool, done, failed or cancelled."
APPROVAL_STATUS = in_query("status", "pending, approved, rejected, expired or void (its run ended first).")
