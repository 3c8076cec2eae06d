"""Tools that run at the client: registering them for a session, and submitting their results."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from syntor.contracts import subjects
from syntor.contracts.bounds import Line, Token
from syntor.contracts.errors import ConflictError, NotFoundError, RevisionConflictError
from syntor.contracts.http.v1 import FieldFault, SubmissionAccepted, ToolsRegistered
from syntor.contracts.permissions import BUILT_IN_TOOLS
from syntor.contracts.request.v1 import ToolResultSubmitted
from syntor.contracts.session.v1 import ClientTool, ClientToolsRegistered
from syntor.contracts.task.v1 import ToolRequest
from syntor.eventsourcing.store import Recorded
from syntor.ingress.api.run_bodies import Body
from syntor.ingress.gateway import Gateway, request, session_lineage
from syntor.ingress.http.bounds import BodyText
from syntor.ingress.http.errors import InvalidFieldsError
from syntor.ingress.http.operation import Call, Operation, Reply, reply
from syntor.ingress.http.parameters import Query

ToolParameters = Annotated[
    dict[Annotated[str, Meta(max_length=200)], Any],
    Meta(
        max_length=100,
        extra_json_schema={
            "anyOf": [
                {"maxProperties": 0},
                {"required": ["type"], "properties": {"type": {"const": "object"}}},
            ]
        },
    ),
]
"""A JSON schema of type object; empty: no arguments."""
ToolName = Annotated[Token, Meta(extra_json_schema={"not": {"enum": list(BUILT_IN_TOOLS)}})]
"""Name of a client's tool: none of the built-in ones."""


class ClientToolInput(Body, frozen=True, kw_only=True):
    """A tool that runs at the client."""

    name: ToolName
    """Unique among the client's tools."""
    description: Annotated[Line, Meta(min_length=1)]
    """What it does, for the model."""
    parameters: ToolParameters = {}
    """JSON schema of its arguments."""


class RegisterTools(Body, frozen=True, kw_only=True):
    """Body of PUT /v1/sessions/{session_id}/tools: all tools of the client; replaces those registered before."""

    tools: Annotated[list[ClientToolInput], Meta(max_length=100, extra_json_schema={"uniqueItems": True})]
    """No two of one name."""


class SubmitToolResult(Body, frozen=True, kw_only=True):
    """Body of POST /v1/runs/{run_id}/tool_results/{call}."""

    content: BodyText
    """Result for the model."""
    is_error: bool = False
    """Whether the tool failed."""


class ClientToolRoutes:
    """Handlers of client tools."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def operations(self) -> list[Operation]:
        """Return the rows of the route table."""
        return [
            Operation(
                method="PUT",
                path="/v1/sessions/{session_id}/tools",
                handler=self.register,
                id="registerTools",
                scope="run",
                tag="Sessions",
                summary="Register tools that run at the client",
                description="A call arrives as a `tool_request` event; its result is posted to the run's tool_results.",
                body=RegisterTools,
                example={"tools": [{"name": "lookup", "description": "Looks up a word"}]},
                replies=(Reply(description="The tools agents of the session may call.", schema=ToolsRegistered),),
            ),
            Operation(
                method="POST",
                path="/v1/runs/{run_id}/tool_results/{call}",
                handler=self.submit,
                id="submitToolResult",
                scope="approve",
                tag="Approvals",
                summary="Submit the result of a client's tool",
                description="`call` is `<task_id>-<call_id>` of the `tool_request` event. The first result counts and "
                "may be repeated.",
                body=SubmitToolResult,
                example={"content": "42"},
                replies=(Reply(description="The result is in the log.", schema=SubmissionAccepted),),
                problems=("not_found", "conflict"),
            ),
        ]

    async def register(self, call: Call[Query, RegisterTools]) -> Response:
        """PUT /v1/sessions/{session_id}/tools."""
        session_id = call.path("session_id")
        check_tools(call.body)
        tools = [
            ClientTool(
                name=tool.name,
                description=tool.description,
                parameters=msgspec.json.encode(tool.parameters or {"type": "object", "properties": {}}).decode(),
            )
            for tool in call.body.tools
        ]
        event = ClientToolsRegistered(tools=tools, registered_by=call.context.caller)
        position = await self._gateway.append_next(event, session_id, session_lineage(call.context, session_id))
        return reply(ToolsRegistered(session_id=session_id, tools=[tool.name for tool in tools], position=position))

    async def submit(self, call: Call[Query, SubmitToolResult]) -> Response:
        """POST /v1/runs/{run_id}/tool_results/{call}."""
        run_id, name = call.path("run_id"), call.path("call")
        bounds = await self._gateway.run(run_id)
        task_id, _, call_id = name.rpartition("-")
        requests = await self._gateway.task_events(run_id, task_id, "tool_request") if task_id else []
        if not any(isinstance(one.event, ToolRequest) and one.event.call_id == call_id for one in requests):
            raise NotFoundError(f"run {run_id!r} has no tool request {name!r}")
        result = ToolResultSubmitted(
            task_id=task_id,
            call_id=call_id,
            content=call.body.content,
            is_error=call.body.is_error,
            submitted_by=call.context.caller,
        )
        position = 0
        first = await self._submitted(run_id, task_id, call_id)
        if first is None:
            bounds.require_open()
            try:
                position = await self._gateway.append_request(request(call.context, result, run_id, bounds))
            except RevisionConflictError:
                first = await self._submitted(run_id, task_id, call_id)
        if first is not None and first.event != result:
            raise ConflictError(f"the result of tool call {name!r} was submitted before; the first one counts")
        position = position if first is None else first.position
        return reply(SubmissionAccepted(run_id=run_id, id=name, position=position))

    async def _submitted(self, run_id: str, task_id: str, call_id: str) -> Recorded | None:
        key = f"{task_id}-{call_id}"
        return await self._gateway.last(subjects.event("request", run_id, "tool_result_submitted", key))


def check_tools(command: RegisterTools) -> None:
    """Check what the struct cannot express.

    Raises:
        InvalidFieldsError: a name is reserved or used twice, or parameters are no schema of an object.
    """
    faults: list[FieldFault] = []
    names = [tool.name for tool in command.tools]
    for number, tool in enumerate(command.tools):
        field = f"tools[{number}].name"
        if tool.name in BUILT_IN_TOOLS:
            faults.append(FieldFault(field, f"{tool.name!r} is a tool of the agents; choose another name"))
        if names.index(tool.name) != number:
            faults.append(FieldFault(field, f"{tool.name!r} is used twice"))
        if tool.parameters and tool.parameters.get("type") != "object":
            faults.append(FieldFault(f"tools[{number}].parameters", 'expected a JSON schema of type "object"'))
    if faults:
        raise InvalidFieldsError(faults)
