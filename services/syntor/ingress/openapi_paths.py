"""The operations of the HTTP API, by path."""

from __future__ import annotations

from typing import Any

from syntor.ingress.openapi_parts import (
    AFTER,
    APPROVAL_STATUS,
    AWAY,
    CURSOR,
    EVENTS_PAGE,
    EXAMPLE,
    KEY,
    LAST_EVENT_ID,
    LIMIT,
    PREFER,
    RUN_ANSWERS,
    STATUSES,
    STREAM,
    body,
    events_or,
    in_path,
    in_query,
    ok,
    operation,
)

PATHS: dict[str, dict[str, Any]] = {
    "/v1/runs": {
        "post": operation(
            "Runs",
            "Ask an agent",
            RUN_ANSWERS,
            problems=("404", "413", "415", "422", "503"),
            parameters=[KEY, PREFER],
            body=body("StartRun", example=EXAMPLE),
            description="A run does not depend on who listens: closing the connection leaves it running.",
        ),
        "get": operation(
            "Runs",
            "List runs, newest first",
            {"200": ok("A page of runs.", "RunPage")},
            problems=AWAY,
            parameters=[
                in_query("session_id", "Only runs of this session."),
                in_query("agent", "Only runs of this agent, by id or alias."),
                in_query("status", STATUSES),
                LIMIT,
                CURSOR,
            ],
        ),
    },
    "/v1/runs/{run_id}": {
        "get": operation(
            "Runs",
            "Show a run",
            {"200": ok("The run.", "RunView")},
            problems=("404", "503"),
            parameters=[in_path("run_id")],
        )
    },
    "/v1/runs/{run_id}/events": {
        "get": operation(
            "Runs",
            "Read or follow a run's events",
            {
                "200": events_or("A page of events, oldest first", EVENTS_PAGE),
                "204": {"description": "The run ended at or before the position to resume behind."},
            },
            problems=("404", "503"),
            parameters=[
                in_path("run_id"),
                AFTER,
                in_query("types", "Only these event types, separated by commas."),
                LIMIT,
                LAST_EVENT_ID,
            ],
        )
    },
    "/v1/runs/{run_id}/cancel": {
        "post": operation(
            "Runs",
            "Stop a run",
            {"202": ok("The request is in the log; `run_cancelled` follows.", "CancelAccepted")},
            problems=("404", "409", "413", "415", "503"),
            parameters=[in_path("run_id")],
            body=body("CancelRun", required=False, example={"reason": "not needed any more"}),
        )
    },
    "/v1/runs/{run_id}/retry": {
        "post": operation(
            "Runs",
            "Ask the same again, as a new run",
            RUN_ANSWERS,
            problems=("404", "409", "413", "415", "422", "503"),
            parameters=[in_path("run_id"), KEY, PREFER],
            body=body("NoFields", required=False),
        )
    },
    "/v1/runs/{run_id}/approvals": {
        "get": operation(
            "Approvals",
            "List a run's approvals, newest first",
            {"200": ok("A page of approvals.", "ApprovalPage")},
            problems=("404", "503"),
            parameters=[in_path("run_id"), APPROVAL_STATUS, LIMIT, CURSOR],
        )
    },
    "/v1/runs/{run_id}/approvals/{approval_id}": {
        "get": operation(
            "Approvals",
            "Show an approval and its decision",
            {"200": ok("The approval.", "Approval")},
            problems=("404", "503"),
            parameters=[in_path("run_id"), in_path("approval_id")],
        ),
        "post": operation(
            "Approvals",
            "Approve or reject",
            {"200": ok("The decision is in the log; the agent goes on.", "Answered")},
            problems=("404", "409", "413", "415", "422", "503"),
            parameters=[in_path("run_id"), in_path("approval_id")],
            body=body("DecideApproval", example={"approved": True, "content_hash": "9f86d081..."}),
            description="The first decision counts; a second one, one on other content, and one that comes too late "
            "are conflicts.",
        ),
    },
    "/v1/runs/{run_id}/tool_results/{call}": {
        "post": operation(
            "Approvals",
            "Submit the result of a client's tool, once",
            {"200": ok("The result is in the log; the agent goes on.", "Answered")},
            problems=("404", "409", "413", "415", "422", "503"),
            parameters=[in_path("run_id"), in_path("call")],
            body=body("SubmitToolResult", example={"content": "42"}),
            description="`call` is `<task_id>-<call_id>` of the `tool_request` event.",
        )
    },
    "/v1/approvals": {
        "get": operation(
            "Approvals",
            "List approvals, newest first",
            {"200": ok("A page of approvals.", "ApprovalPage")},
            problems=AWAY,
            parameters=[in_query("session_id", "Only of this session."), APPROVAL_STATUS, LIMIT, CURSOR],
        )
    },
    "/internal/invoke": {
        "post": operation(
            "Runs",
            "Ask an agent, in the words of other runtimes",
            {"200": ok("The run is in the log.", "Invoked")},
            problems=("404", "413", "415", "422", "503"),
            parameters=[KEY],
            body=body("Invoke"),
            description="`request_id` is the idempotency key.",
        )
    },
    "/v1/sessions": {
        "get": operation(
            "Sessions",
            "List sessions, the one with the newest run first",
            {"200": ok("A page of sessions.", "SessionPage")},
            problems=AWAY,
            parameters=[LIMIT, CURSOR],
        )
    },
    "/v1/sessions/{session_id}": {
        "get": operation(
            "Sessions",
            "Show a session",
            {"200": ok("The session.", "SessionView")},
            problems=("404", "503"),
            parameters=[in_path("session_id")],
        )
    },
    "/v1/sessions/{session_id}/messages": {
        "get": operation(
            "Sessions",
            "Read a session's messages, the newest page first",
            {"200": ok("A page of messages, oldest first within it.", "MessagePage")},
            problems=("404", "503"),
            parameters=[
                in_path("session_id"),
                in_query("before", "The `cursor` of the page before.", "integer"),
                LIMIT,
            ],
        )
    },
    "/v1/sessions/{session_id}/fork": {
        "post": operation(
            "Sessions",
            "Begin a session with the messages of another one",
            {"201": ok("The new session; `Location` names it.", "Forked")},
            problems=("404", "413", "415", "422", "503"),
            parameters=[in_path("session_id")],
            body=body("ForkSession", required=False, example={"at": 120}),
        )
    },
    "/v1/sessions/{session_id}/tools": {
        "put": operation(
            "Sessions",
            "Offer tools that run at the client",
            {"200": ok("The tools agents of the session may call.", "ToolsRegistered")},
            problems=("404", "413", "415", "422", "503"),
            parameters=[in_path("session_id")],
            body=body("RegisterTools"),
            description="A call comes as a `tool_request` event; its result is posted to the run's tool_results.",
        )
    },
    "/v1/agents": {
        "get": operation(
            "Agents",
            "List agents",
            {"200": ok("All agents, by id.", "AgentList")},
            problems=AWAY,
            parameters=[
                in_query("capability", "Only agents that have it; repeat it for several."),
                in_query("status", "Only agents of this status."),
            ],
        )
    },
    "/v1/agents/register": {
        "post": operation(
            "Agents",
            "Register or update an external HTTP agent",
            {"200": ok("The agent as it is known now.", "AgentView")},
            problems=("409", "413", "415", "503"),
            body=body(
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
        "get": operation(
            "Agents",
            "Show an agent, by id or alias",
            {"200": ok("The agent.", "AgentView")},
            problems=("404", "503"),
            parameters=[in_path("agent_id")],
        ),
        "delete": operation(
            "Agents",
            "Forget an agent",
            {"200": ok("The agent as it was.", "AgentView")},
            problems=("404", "409", "503"),
            parameters=[in_path("agent_id")],
        ),
    },
    "/v1/usage": {
        "get": operation(
            "Usage",
            "Sum up what model calls used",
            {"200": ok("Sums, the most tokens first.", "UsageReport")},
            problems=AWAY,
            parameters=[
                in_query("group_by", "run, session, agent, model or day (UTC)."),
                in_query("run_id", "Only this run."),
                in_query("session_id", "Only this session."),
            ],
        )
    },
    "/v1/events": {
        "get": operation(
            "Events",
            "Follow the whole log",
            {"200": {"description": STREAM, "content": {"text/event-stream": {"schema": {"type": "string"}}}}},
            problems=AWAY,
            parameters=[
                in_query("subject", "NATS filter, such as run.*.run_done; `syntor.events.` may be left out."),
                AFTER,
                LAST_EVENT_ID,
            ],
            description="Without a position it begins now.",
        )
    },
    "/v1/dead_letters": {
        "get": operation(
            "Dead letters",
            "List messages that were given up, newest first",
            {"200": ok("A page of dead letters.", "DeadLetterPage")},
            problems=AWAY,
            parameters=[LIMIT, CURSOR],
        )
    },
    "/v1/dead_letters/{number}": {
        "get": operation(
            "Dead letters",
            "Show one, with its cause and content",
            {"200": ok("The dead letter.", "DeadLetter")},
            problems=("404", "503"),
            parameters=[in_path("number")],
        ),
        "delete": operation(
            "Dead letters",
            "Remove one; the message it was stays in its stream",
            {"200": ok("The dead letter as it was.", "DeadLetter")},
            problems=("404", "503"),
            parameters=[in_path("number")],
        ),
    },
    "/openapi.json": {"get": operation("About", "This document", {"200": {"description": "OpenAPI 3.1."}})},
    "/docs": {"get": operation("About", "This document, for people", {"200": {"description": "HTML."}})},
    "/problems/{code}": {
        "get": operation(
            "About",
            "What a problem means",
            {"200": {"description": "HTML."}},
            problems=("404",),
            parameters=[in_path("code")],
        )
    },
}
