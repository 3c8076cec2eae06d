"""What clients may answer agents and change about sessions, as structs; see `commands`."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from syntor.contracts.permissions import BUILT_IN_TOOLS
from syntor.ingress.commands import Body, refuse, token_faults
from syntor.ingress.errors import FieldFault
from syntor.ingress.reading import BodyReader


class DecideApproval(Body, frozen=True, kw_only=True):
    """Body of POST /v1/runs/{id}/approvals/{approval_id}."""

    approved: bool
    """The decision."""
    content_hash: str
    """As the approval shows it: what was looked at is what is decided on."""
    reason: Annotated[str, Meta(max_length=2000)] = ""
    """Told to the agent."""
    scope: str = "once"
    """once; or session: calls that fit the approval's rule need none in this session any more."""
    decided_by: Annotated[str, Meta(max_length=200)] = ""
    """Who decided; empty: http."""


class SubmitToolResult(Body, frozen=True, kw_only=True):
    """Body of POST /v1/runs/{id}/tool_results/{call}."""

    content: str
    """What the model is told."""
    is_error: bool = False
    """Whether the tool failed."""


class ClientToolInput(Body, frozen=True, kw_only=True):
    """A tool that runs at the client."""

    name: str
    description: Annotated[str, Meta(min_length=1, max_length=4000)]
    parameters: dict[str, Any] = {}
    """JSON schema of its arguments, an object."""


class RegisterTools(Body, frozen=True, kw_only=True):
    """Body of PUT /v1/sessions/{id}/tools: all tools the client offers; replaces those offered before."""

    tools: Annotated[list[ClientToolInput], Meta(max_length=100)]


class ForkSession(Body, frozen=True, kw_only=True):
    """Body of POST /v1/sessions/{id}/fork; may be absent."""

    at: Annotated[int, Meta(ge=0)] = 0
    """Position to fork at: runs that had ended by then are taken along; 0: now."""


_decide = BodyReader(DecideApproval)
_result = BodyReader(SubmitToolResult)
_tools = BodyReader(RegisterTools)
_fork = BodyReader(ForkSession)


def read_decision(body: bytes) -> DecideApproval:
    """Return the command in the body of a decision.

    Raises:
        InvalidInputError: names every field that is wrong.
    """
    command = _decide.read(body)
    faults: list[FieldFault] = []
    if command.scope not in ("once", "session"):
        faults.append(FieldFault("scope", f"expected once or session, found {command.scope!r}"))
    if not command.content_hash:
        faults.append(FieldFault("content_hash", "empty; give back the content_hash of the approval"))
    refuse(faults)
    return command


def read_tool_result(body: bytes) -> SubmitToolResult:
    """Return the command in the body of a tool's result.

    Raises:
        InvalidInputError: names every field that is wrong.
    """
    return _result.read(body)


def read_tools(body: bytes) -> RegisterTools:
    """Return the command in the body of a registration of tools.

    Raises:
        InvalidInputError: names every field that is wrong.
    """
    command = _tools.read(body)
    faults: list[FieldFault] = []
    names = [tool.name for tool in command.tools]
    for number, tool in enumerate(command.tools):
        field = f"tools[{number}].name"
        faults += token_faults(field, tool.name)
        if tool.name in BUILT_IN_TOOLS:
            faults.append(FieldFault(field, f"{tool.name!r} is a tool of the agents; choose another name"))
        if names.count(tool.name) > 1 and names.index(tool.name) != number:
            faults.append(FieldFault(field, f"{tool.name!r} is there twice"))
        if tool.parameters and tool.parameters.get("type") != "object":
            faults.append(FieldFault(f"tools[{number}].parameters", 'expected a JSON schema of type "object"'))
    refuse(faults)
    return command


def read_fork(body: bytes) -> ForkSession:
    """Return the command in the body of a fork; no body is one of now.

    Raises:
        InvalidInputError: names every field that is wrong.
    """
    return _fork.read(body) if body else ForkSession()
