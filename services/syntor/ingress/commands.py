"""What clients may ask for, as structs: JSON becomes one of these or is refused, and nothing is ignored."""

from __future__ import annotations

import hashlib
import os.path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from syntor.contracts.agent.v1 import AgentProfile, Capability
from syntor.contracts.ids import is_token
from syntor.contracts.run.v1 import Attachment
from syntor.ingress.errors import FieldFault, InvalidFieldsError
from syntor.ingress.reading import BodyReader

MAX_TIMEOUT_S = 86400.0  # a day; a run that needs longer is several runs

Positive = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
_TOKEN_RULE = "use 1 to 64 of the characters a-z, A-Z, 0-9, '_' and '-'"


class _Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A body, or an object inside one."""


class BudgetInput(_Body, frozen=True, kw_only=True):
    """Limits of a run; what is left out has no limit."""

    max_tokens: Positive | None = None
    max_cost_microusd: Positive | None = None
    max_calls: Positive | None = None
    max_wall_time_s: Annotated[float, Meta(gt=0)] | None = None


class AttachmentInput(_Body, frozen=True, kw_only=True):
    """A named text that goes with the input."""

    name: Annotated[str, Meta(min_length=1, max_length=1024)]
    content: str


class StartRun(_Body, frozen=True, kw_only=True):
    """Body of POST /v1/runs."""

    agent: Name
    """Id or alias of the agent that is to answer."""
    input: str
    """What is asked; not empty."""
    session_id: str = ""
    """Session to continue; empty: a new one."""
    model: Annotated[str, Meta(max_length=200)] = ""
    """Model for this run only."""
    budget: BudgetInput | None = None
    """Limits; refused as long as nothing enforces them."""
    metadata: dict[str, str] = {}
    """The caller's labels."""
    workspace: str = ""
    """Absolute folder the agent's tools may read."""
    attachments: list[AttachmentInput] = []
    """Texts that go with the input."""
    timeout_s: Annotated[float, Meta(gt=0, le=MAX_TIMEOUT_S)] | None = None
    """Seconds a task of the run may take."""

    def digest(self) -> str:
        """Return a digest that is the same for the same request, however it was written."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def event_attachments(self) -> list[Attachment]:
        """Return the attachments as the event has them."""
        return [Attachment(name=one.name, content=one.content) for one in self.attachments]


class InputMessage(_Body, frozen=True, kw_only=True):
    """The message of an internal invocation."""

    role: str
    """user."""
    content: str
    """What is asked; not empty."""


class Invoke(_Body, frozen=True, kw_only=True):
    """Body of POST /internal/invoke."""

    session_id: str
    agent_id: Name
    input_message: InputMessage
    request_id: Annotated[str, Meta(max_length=255)] = ""
    """Idempotency key; empty: none."""


class CancelRun(_Body, frozen=True, kw_only=True):
    """Body of POST /v1/runs/{id}/cancel; may be absent."""

    reason: Annotated[str, Meta(max_length=2000)] = ""


class NoFields(_Body, frozen=True, kw_only=True):
    """A body that says nothing: `{}`, or none at all."""


class CapabilityInput(_Body, frozen=True, kw_only=True):
    """Something an agent can do."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    version: str = "1.0"
    description: str = ""


class RegisterAgentBody(_Body, frozen=True, kw_only=True):
    """Body of POST /v1/agents/register: an external HTTP agent."""

    agent_id: str
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    endpoint: str
    capabilities: list[str | CapabilityInput] = []
    description: str = ""
    version: str = "1.0.0"
    aliases: list[str] = []
    max_concurrent: Positive = 10
    priority: Annotated[int, Meta(ge=0, le=255)] = 128
    metadata: dict[str, str] = {}

    def profile(self) -> AgentProfile:
        """Return the record the registry is asked to keep."""
        return AgentProfile(
            agent_id=self.agent_id,
            name=self.name,
            version=self.version,
            description=self.description,
            capabilities=[_capability(one) for one in self.capabilities],
            endpoint=self.endpoint,
            aliases=self.aliases,
            max_concurrent=self.max_concurrent,
            priority=self.priority,
            metadata=self.metadata,
        )


def _capability(given: str | CapabilityInput) -> Capability:
    if isinstance(given, str):
        return Capability(name=given)
    return Capability(name=given.name, version=given.version, description=given.description)


_start_run = BodyReader(StartRun)
_invoke = BodyReader(Invoke)
_cancel = BodyReader(CancelRun)
_nothing = BodyReader(NoFields)
_register = BodyReader(RegisterAgentBody)


def read_start_run(body: bytes) -> StartRun:
    """Return the command in the body of POST /v1/runs.

    Raises:
        InvalidInputError: names every field that is wrong.
    """
    command = _start_run.read(body)
    text = command.input
    if not text or text.isspace() or command.session_id or command.workspace or command.budget is not None:
        _refuse(_start_run_faults(command))
    return command


def read_invoke(body: bytes) -> tuple[StartRun, str]:
    """Return the run asked for by POST /internal/invoke, and its idempotency key.

    Raises:
        InvalidInputError: names every field that is wrong.
    """
    command = _invoke.read(body)
    message = command.input_message
    faults = _token_faults("session_id", command.session_id)
    if message.role != "user":
        faults.append(FieldFault("input_message.role", f"expected 'user', found {message.role!r}"))
    if not message.content.strip():
        faults.append(FieldFault("input_message.content", "empty; say what the agent is asked"))
    _refuse(faults)
    return StartRun(agent=command.agent_id, input=message.content, session_id=command.session_id), command.request_id


def read_cancel(body: bytes) -> CancelRun:
    """Return the command in the body of a cancellation; no body is one without a reason.

    Raises:
        InvalidInputError: names every field that is wrong.
    """
    return _cancel.read(body) if body else CancelRun()


def read_nothing(body: bytes) -> None:
    """Check the body of a request that takes none.

    Raises:
        InvalidInputError: it has fields.
    """
    if body:
        _nothing.read(body)


def read_register(body: bytes) -> AgentProfile:
    """Return the profile in the body of a registration.

    Raises:
        InvalidInputError: names every field that is wrong.
    """
    command = _register.read(body)
    faults = _token_faults("agent_id", command.agent_id)
    if not _is_http_url(command.endpoint):
        faults.append(FieldFault("endpoint", f"expected an http:// or https:// URL, found {command.endpoint!r}"))
    for number, alias in enumerate(command.aliases):
        faults += _token_faults(f"aliases[{number}]", alias)
    _refuse(faults)
    return command.profile()


def _start_run_faults(command: StartRun) -> list[FieldFault]:
    faults: list[FieldFault] = []
    if not command.input.strip():
        faults.append(FieldFault("input", "empty; say what the agent is asked"))
    if command.session_id:
        faults += _token_faults("session_id", command.session_id)
    if command.workspace and not os.path.isabs(command.workspace):
        faults.append(FieldFault("workspace", f"expected an absolute path, found {command.workspace!r}"))
    if command.budget is not None:
        faults.append(FieldFault("budget", "limits are not enforced yet; leave it out (timeout_s bounds the time)"))
    return faults


def _token_faults(field: str, value: str) -> list[FieldFault]:
    return [] if is_token(value) else [FieldFault(field, f"{value!r}: {_TOKEN_RULE}")]


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _refuse(faults: list[FieldFault]) -> None:
    if faults:
        raise InvalidFieldsError(faults)
