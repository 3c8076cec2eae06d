"""The API as an OpenAPI 3.1 document: paths by hand, schemas from the structs that are really sent and read."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from syntor.contracts.rpc import v1 as rpc
from syntor.ingress.answer_commands import DecideApproval, ForkSession, RegisterTools, SubmitToolResult
from syntor.ingress.answers import Answered, Approval
from syntor.ingress.commands import CancelRun, Invoke, NoFields, RegisterAgentBody, StartRun
from syntor.ingress.parked import DeadLetterPage
from syntor.ingress.problems import KINDS, Problem
from syntor.ingress.runs import Accepted, CancelAccepted, Invoked
from syntor.ingress.session_changes import Forked, ToolsRegistered
from syntor.jetstream.dead_letters import DeadLetter

_SCHEMAS: list[type[msgspec.Struct]] = [
    *(StartRun, Invoke, CancelRun, NoFields, RegisterAgentBody),
    *(DecideApproval, SubmitToolResult, RegisterTools, ForkSession),
    *(Accepted, Invoked, CancelAccepted, Problem, Approval, Answered, Forked, ToolsRegistered, rpc.ApprovalPage),
    *(DeadLetter, DeadLetterPage),
    *(rpc.RunView, rpc.RunPage, rpc.SessionView, rpc.SessionPage, rpc.MessagePage, rpc.AgentView, rpc.AgentList),
    rpc.UsageReport,
]
_EVENTS_PAGE = {
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
_EVENT = {
    "type": "object",
    "description": "An envelope of the log (CloudEvents 1.0) with its position in front.",
    "required": ["position", "id", "type", "source", "subject", "time", "data"],
    "properties": {
        "position": {"type": "integer", "description": "Stream sequence; the id to resume behind."},
        "id": {"type": "string"},
        "type": {"type": "string", "examples": ["user_input", "agent_stream_delta", "run_done"]},
        "source": {"type": "string"},
        "subject": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "runid": {"type": "string"},
        "sessionid": {"type": "string"},
        "data": {"type": "object", "description": "The event itself; its schema is named by `dataschema`."},
    },
}
_STREAM = (
    "Server-sent events: `id` is the position, `event` the type, `data` the event object. A comment every 15 s. "
    "An `event: gap` with {resume_after} asks a client that was too slow to reconnect behind that position."
)


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(name)}}


def _body(name: str, *, required: bool = True, example: dict[str, Any] | None = None) -> dict[str, Any]:
    content = _json(name)
    if example:
        content["application/json"]["example"] = example
    return {"required": required, "content": content}


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": f"The {name}."}


def _in_query(name: str, description: str, type_: str = "string") -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": type_}, "description": description}


def _in_header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": description}


def _operation(
    tag: str,
    summary: str,
    responses: dict[str, Any],
    *,
    problems: tuple[str, ...] = (),
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
    description: str = "",
) -> dict[str, Any]:
    refused = {status: {"$ref": "#/components/responses/Problem"} for status in ("400", "401", "403", "429", *problems)}
    operation: dict[str, Any] = {"tags": [tag], "summary": summary, "responses": responses | refused}
    if description:
        operation["description"] = description
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = body
    return operation


def _ok(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": _json(schema)}


def _events_or(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}, "text/event-stream": {"schema": {"type": "string"}}}
    return {"description": f"{description}. With Accept: text/event-stream, the events. {_STREAM}", "content": content}


_LIMIT = _in_query("limit", "At most this many.", "integer")
_CURSOR = _in_query("cursor", "The `cursor` of the page before.", "integer")
_AFTER = _in_query("after", "Only what is behind this position.", "integer")
_LAST_EVENT_ID = _in_header("Last-Event-ID", "Position to resume behind; wins over `after`.")
_KEY = _in_header(
    "Idempotency-Key", "The same key and body is the same run, for ever; another body is refused with 422."
)
_PREFER = _in_header("Prefer", "`wait=N`: answer when the run has ended, at most N (60) seconds from now.")
_RUN_ANSWERS = {
    "202": _ok("The run is in the log; `Location` names it.", "Accepted"),
    "200": _events_or("With Prefer: wait, the run that has ended", _ref("RunView")),
}
_EXAMPLE = {"agent": "worker", "input": "What is in this folder?", "workspace": "/home/me/project"}
_AWAY = ("503",)
_STATUSES = "created, running, paused_waiting_approval, paused_waiting_tool, done, failed or cancelled."
_APPROVAL_STATUS = _in_query("status", "pending, approved, rejected, expired or void (its run ended first).")

PATHS: dict[str, dict[str, Any]] = {
    "/v1/runs": {
        "post": _operation(
            "Runs",
            "Ask an agent",
            _RUN_ANSWERS,
            problems=("404", "413", "415", "422", "503"),
            parameters=[_KEY, _PREFER],
            body=_body("StartRun", example=_EXAMPLE),
            description="A run does not depend on who listens: closing the connection leaves it running.",
        ),
        "get": _operation(
            "Runs",
            "List runs, newest first",
            {"200": _ok("A page of runs.", "RunPage")},
            problems=_AWAY,
            parameters=[
                _in_query("session_id", "Only runs of this session."),
                _in_query("agent", "Only runs of this agent, by id or alias."),
                _in_query("status", _STATUSES),
                _LIMIT,
                _CURSOR,
            ],
        ),
    },
    "/v1/runs/{run_id}": {
        "get": _operation(
            "Runs",
            "Show a run",
            {"200": _ok("The run.", "RunView")},
            problems=("404", "503"),
            parameters=[_in_path("run_id")],
        )
    },
    "/v1/runs/{run_id}/events": {
        "get": _operation(
            "Runs",
            "Read or follow a run's events",
            {
                "200": _events_or("A page of events, oldest first", _EVENTS_PAGE),
                "204": {"description": "The run ended at or before the position to resume behind."},
            },
            problems=("404", "503"),
            parameters=[
                _in_path("run_id"),
                _AFTER,
                _in_query("types", "Only these event types, separated by commas."),
                _LIMIT,
                _LAST_EVENT_ID,
            ],
        )
    },
    "/v1/runs/{run_id}/cancel": {
        "post": _operation(
            "Runs",
            "Stop a run",
            {"202": _ok("The request is in the log; `run_cancelled` follows.", "CancelAccepted")},
            problems=("404", "409", "413", "415", "503"),
            parameters=[_in_path("run_id")],
            body=_body("CancelRun", required=False, example={"reason": "not needed any more"}),
        )
    },
    "/v1/runs/{run_id}/retry": {
        "post": _operation(
            "Runs",
            "Ask the same again, as a new run",
            _RUN_ANSWERS,
            problems=("404", "409", "413", "415", "422", "503"),
            parameters=[_in_path("run_id"), _KEY, _PREFER],
            body=_body("NoFields", required=False),
        )
    },
    "/v1/runs/{run_id}/approvals": {
        "get": _operation(
            "Approvals",
            "List a run's approvals, newest first",
            {"200": _ok("A page of approvals.", "ApprovalPage")},
            problems=("404", "503"),
            parameters=[_in_path("run_id"), _APPROVAL_STATUS, _LIMIT, _CURSOR],
        )
    },
    "/v1/runs/{run_id}/approvals/{approval_id}": {
        "get": _operation(
            "Approvals",
            "Show an approval and its decision",
            {"200": _ok("The approval.", "Approval")},
            problems=("404", "503"),
            parameters=[_in_path("run_id"), _in_path("approval_id")],
        ),
        "post": _operation(
            "Approvals",
            "Approve or reject",
            {"200": _ok("The decision is in the log; the agent goes on.", "Answered")},
            problems=("404", "409", "413", "415", "422", "503"),
            parameters=[_in_path("run_id"), _in_path("approval_id")],
            body=_body("DecideApproval", example={"approved": True, "content_hash": "9f86d081..."}),
            description="The first decision counts; a second one, one on other content, and one that comes too late "
            "are conflicts.",
        ),
    },
    "/v1/runs/{run_id}/tool_results/{call}": {
        "post": _operation(
            "Approvals",
            "Submit the result of a client's tool, once",
            {"200": _ok("The result is in the log; the agent goes on.", "Answered")},
            problems=("404", "409", "413", "415", "422", "503"),
            parameters=[_in_path("run_id"), _in_path("call")],
            body=_body("SubmitToolResult", example={"content": "42"}),
            description="`call` is `<task_id>-<call_id>` of the `tool_request` event.",
        )
    },
    "/v1/approvals": {
        "get": _operation(
            "Approvals",
            "List approvals, newest first",
            {"200": _ok("A page of approvals.", "ApprovalPage")},
            problems=_AWAY,
            parameters=[_in_query("session_id", "Only of this session."), _APPROVAL_STATUS, _LIMIT, _CURSOR],
        )
    },
    "/internal/invoke": {
        "post": _operation(
            "Runs",
            "Ask an agent, in the words of other runtimes",
            {"200": _ok("The run is in the log.", "Invoked")},
            problems=("404", "413", "415", "422", "503"),
            parameters=[_KEY],
            body=_body("Invoke"),
            description="`request_id` is the idempotency key.",
        )
    },
    "/v1/sessions": {
        "get": _operation(
            "Sessions",
            "List sessions, the one with the newest run first",
            {"200": _ok("A page of sessions.", "SessionPage")},
            problems=_AWAY,
            parameters=[_LIMIT, _CURSOR],
        )
    },
    "/v1/sessions/{session_id}": {
        "get": _operation(
            "Sessions",
            "Show a session",
            {"200": _ok("The session.", "SessionView")},
            problems=("404", "503"),
            parameters=[_in_path("session_id")],
        )
    },
    "/v1/sessions/{session_id}/messages": {
        "get": _operation(
            "Sessions",
            "Read a session's messages, the newest page first",
            {"200": _ok("A page of messages, oldest first within it.", "MessagePage")},
            problems=("404", "503"),
            parameters=[
                _in_path("session_id"),
                _in_query("before", "The `cursor` of the page before.", "integer"),
                _LIMIT,
            ],
        )
    },
    "/v1/sessions/{session_id}/fork": {
        "post": _operation(
            "Sessions",
            "Begin a session with the messages of another one",
            {"201": _ok("The new session; `Location` names it.", "Forked")},
            problems=("404", "413", "415", "422", "503"),
            parameters=[_in_path("session_id")],
            body=_body("ForkSession", required=False, example={"at": 120}),
        )
    },
    "/v1/sessions/{session_id}/tools": {
        "put": _operation(
            "Sessions",
            "Offer tools that run at the client",
            {"200": _ok("The tools agents of the session may call.", "ToolsRegistered")},
            problems=("404", "413", "415", "422", "503"),
            parameters=[_in_path("session_id")],
            body=_body("RegisterTools"),
            description="A call comes as a `tool_request` event; its result is posted to the run's tool_results.",
        )
    },
    "/v1/agents": {
        "get": _operation(
            "Agents",
            "List agents",
            {"200": _ok("All agents, by id.", "AgentList")},
            problems=_AWAY,
            parameters=[
                _in_query("capability", "Only agents that have it; repeat it for several."),
                _in_query("status", "Only agents of this status."),
            ],
        )
    },
    "/v1/agents/register": {
        "post": _operation(
            "Agents",
            "Register or update an external HTTP agent",
            {"200": _ok("The agent as it is known now.", "AgentView")},
            problems=("409", "413", "415", "503"),
            body=_body(
                "RegisterAgentBody",
                example={
                    "agent_id": "weather",
                    "name": "Weather",
                    "endpoint": "http://127.0.0.1:9000",
                    "capabilities": ["forecast"],
                },
            ),
            description="Its endpoint is called with POST {endpoint}/invoke and answers with server-sent events.",
        )
    },
    "/v1/agents/{agent_id}": {
        "get": _operation(
            "Agents",
            "Show an agent, by id or alias",
            {"200": _ok("The agent.", "AgentView")},
            problems=("404", "503"),
            parameters=[_in_path("agent_id")],
        ),
        "delete": _operation(
            "Agents",
            "Forget an agent",
            {"200": _ok("The agent as it was.", "AgentView")},
            problems=("404", "409", "503"),
            parameters=[_in_path("agent_id")],
        ),
    },
    "/v1/usage": {
        "get": _operation(
            "Usage",
            "Sum up what model calls used",
            {"200": _ok("Sums, the most tokens first.", "UsageReport")},
            problems=_AWAY,
            parameters=[
                _in_query("group_by", "run, session, agent, model or day (UTC)."),
                _in_query("run_id", "Only this run."),
                _in_query("session_id", "Only this session."),
            ],
        )
    },
    "/v1/events": {
        "get": _operation(
            "Events",
            "Follow the whole log",
            {"200": {"description": _STREAM, "content": {"text/event-stream": {"schema": {"type": "string"}}}}},
            problems=_AWAY,
            parameters=[
                _in_query("subject", "NATS filter, such as run.*.run_done; `syntor.events.` may be left out."),
                _AFTER,
                _LAST_EVENT_ID,
            ],
            description="Without a position it begins now.",
        )
    },
    "/v1/dead_letters": {
        "get": _operation(
            "Dead letters",
            "List messages that were given up, newest first",
            {"200": _ok("A page of dead letters.", "DeadLetterPage")},
            problems=_AWAY,
            parameters=[_LIMIT, _CURSOR],
        )
    },
    "/v1/dead_letters/{number}": {
        "get": _operation(
            "Dead letters",
            "Show one, with its cause and content",
            {"200": _ok("The dead letter.", "DeadLetter")},
            problems=("404", "503"),
            parameters=[_in_path("number")],
        ),
        "delete": _operation(
            "Dead letters",
            "Remove one; the message it was stays in its stream",
            {"200": _ok("The dead letter as it was.", "DeadLetter")},
            problems=("404", "503"),
            parameters=[_in_path("number")],
        ),
    },
    "/openapi.json": {"get": _operation("About", "This document", {"200": {"description": "OpenAPI 3.1."}})},
    "/docs": {"get": _operation("About", "This document, for people", {"200": {"description": "HTML."}})},
    "/problems/{code}": {
        "get": _operation(
            "About",
            "What a problem means",
            {"200": {"description": "HTML."}},
            problems=("404",),
            parameters=[_in_path("code")],
        )
    },
}


@cache
def document() -> dict[str, Any]:
    """Return the whole document."""
    _, schemas = msgspec.json.schema_components(_SCHEMAS, ref_template="#/components/schemas/{name}")
    codes = ", ".join(f"{code} ({kind.status})" for code, kind in KINDS.items())
    problem = {
        "description": "A problem (RFC 9457).",
        "content": {"application/problem+json": {"schema": _ref("Problem")}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Syntor",
            "version": "1",
            "description": "Runs teams of LLM agents around one append-only log. Every answer carries `traceparent` "
            f"and `X-Trace-Id`. Errors are problems (RFC 9457) with a stable `code`: {codes}.",
        },
        "paths": PATHS,
        "security": [{}, {"token": []}],
        "components": {
            "schemas": {**schemas, "Event": _EVENT},
            "responses": {"Problem": problem},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
