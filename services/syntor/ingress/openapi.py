"""The API as an OpenAPI 3.1 document: paths by hand, schemas from the structs that are really sent and read."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from syntor.contracts.rpc import v1 as rpc
from syntor.ingress.answer_commands import DecideApproval, ForkSession, RegisterTools, SubmitToolResult
from syntor.ingress.answers import Answered, Approval
from syntor.ingress.commands import CancelRun, Invoke, NoFields, RegisterAgentBody, StartRun
from syntor.ingress.openapi_parts import ref
from syntor.ingress.openapi_paths import PATHS
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


@cache
def document() -> dict[str, Any]:
    """Return the whole document."""
    _, schemas = msgspec.json.schema_components(_SCHEMAS, ref_template="#/components/schemas/{name}")
    codes = ", ".join(f"{code} ({kind.status})" for code, kind in KINDS.items())
    problem = {
        "description": "A problem (RFC 9457).",
        "content": {"application/problem+json": {"schema": ref("Problem")}},
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
