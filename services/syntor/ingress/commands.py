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
from syntor.contracts.permissions import MODES, RULE, RULE_FORM
from syntor.contracts.run.v1 import Attachment, Budget, Permissions
from syntor.ingress.errors import FieldFault, InvalidFieldsError
from syntor.ingress.reading import BodyReader

MAX_TIMEOUT_S = 86400.0  # a day; a run that needs longer is several runs

Positive = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
_TOKEN_RULE = "use 1 to 64 of the characters a-z, A-Z, 0-9, '_' and '-'"


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A body, or an object inside one."""


class BudgetInput(Body, frozen=True, kw_only=True):
    """Limits of a run; what is left out has no limit."""

    max_tokens: Positive | None = None
    max_cost_microusd: Positive | None = None
    max_calls: Positive | None = None
    max_wall_time_s: Annotated[float, Meta(gt=0)] | None = None


class PermissionsInput(Body, frozen=True, kw_only=True):
    """What agents may do without asking. Rules are `tool` or `tool(pattern)`, `*` matches anything."""

    mode: str = ""
    """ask, auto-edit, plan or auto; empty: as configured."""
    allow: list[str] = []
    ask: list[str] = []
    deny: list[str] = []


class AttachmentInput(Body, frozen=True, kw_only=True):
    """A named text that goes with the input."""

    name: Annotated[str, Meta(min_length=1, max_length=1024)]
    content: str


class StartRun(Body, frozen=True, kw_only=True):
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
    """Limits of this run."""
    session_budget: BudgetInput | None = None
    """Limits of all runs of the session together; without max_wall_time_s."""
    permissions: PermissionsInput | None = None
    """What agents may do without asking; left out: as configured."""
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

    def event_budget(self) -> Budget | None:
        """Return the limits as the event has them."""
        return _event_budget(self.budget)

    def event_session_budget(self) -> Budget | None:
        """Return the session's limits as the event has them."""
        return _event_budget(self.session_budget)

    def event_permissions(self) -> Permissions | None:
        """Return the permissions as the event has them."""
        given = self.permissions
        if given is None:
            return None
        return Permissions(mode=given.mode, allow=given.allow, ask=given.ask, deny=given.deny)

    def event_attachments(self) -> list[Attachment]:
        """Return the attachments as the event has them."""
        return [Attachment(name=one.name, content=one.content) for one in self.attachments]


def _event_budget(given: BudgetInput | None) -> Budget | None:
    return None if given is None else Budget(**msgspec.structs.asdict(given))


class InputMessage(Body, frozen=True, kw_only=True):
    """The message of an internal invocation."""

    role: str
    """user."""
    content: str
    """What is asked; not empty."""


class Invoke(Body, frozen=True, kw_only=True):
    """Body of POST /internal/invoke."""

    session_id: str
    agent_id: Name
    input_message: InputMessage
    request_id: Annotated[str, Meta(max_length=255)] = ""
    """Idempotency key; empty: none."""


class CancelRun(Body, frozen=True, kw_only=True):
    """Body of POST /v1/runs/{id}/cancel; may be absent."""

    reason: Annotated[str, Meta(max_length=2000)] = ""


class NoFields(Body, frozen=True, kw_only=True):
    """A body that says nothing: `{}`, or none at all."""


class CapabilityInput(Body, frozen=True, kw_only=True):
    """Something an agent can do."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    version: str = "1.0"
    description: str = ""


class RegisterAgentBody(Body, frozen=True, kw_only=True):
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
    special = command.session_id or command.workspace or command.session_budget or command.permissions
    if special or not text or text.isspace():
        refuse(_start_run_faults(command))
    return command


def read_invoke(body: bytes) -> tuple[StartRun, str]:
    """Return the run asked for by POST /internal/invoke, and its idempotency key.

    Raises:
        InvalidInputError: names every field that is wrong.
    """
    command = _invoke.read(body)
    message = command.input_message
    faults = token_faults("session_id", command.session_id)
    if message.role != "user":
        faults.append(FieldFault("input_message.role", f"expected 'user', found {message.role!r}"))
    if not message.content.strip():
        faults.append(FieldFault("input_message.content", "empty; say what the agent is asked"))
    refuse(faults)
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
    faults = token_faults("agent_id", command.agent_id)
    if not _is_http_url(command.endpoint):
        faults.append(FieldFault("endpoint", f"expected an http:// or https:// URL, found {command.endpoint!r}"))
    for number, alias in enumerate(command.aliases):
        faults += token_faults(f"aliases[{number}]", alias)
    refuse(faults)
    return command.profile()


def _start_run_faults(command: StartRun) -> list[FieldFault]:
    faults: list[FieldFault] = []
    if not command.input.strip():
        faults.append(FieldFault("input", "empty; say what the agent is asked"))
    if command.session_id:
        faults += token_faults("session_id", command.session_id)
    if command.workspace and not os.path.isabs(command.workspace):
        faults.append(FieldFault("workspace", f"expected an absolute path, found {command.workspace!r}"))
    if command.session_budget is not None and command.session_budget.max_wall_time_s is not None:
        faults.append(FieldFault("session_budget.max_wall_time_s", "a session has no wall time; set it in budget"))
    if command.permissions is not None:
        faults += _permission_faults(command.permissions)
    return faults


def _permission_faults(given: PermissionsInput) -> list[FieldFault]:
    faults: list[FieldFault] = []
    if given.mode and given.mode not in MODES:
        faults.append(FieldFault("permissions.mode", f"expected one of {', '.join(MODES)}, found {given.mode!r}"))
    for name in ("allow", "ask", "deny"):
        for number, rule in enumerate(getattr(given, name)):
            if RULE.match(rule.strip()) is None:
                faults.append(FieldFault(f"permissions.{name}[{number}]", f"{rule!r}: expected {RULE_FORM}"))
    return faults


def token_faults(field: str, value: str) -> list[FieldFault]:
    """Return what is wrong with an id, if anything."""
    return [] if is_token(value) else [FieldFault(field, f"{value!r}: {_TOKEN_RULE}")]


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def refuse(faults: list[FieldFault]) -> None:
    """Raise InvalidInputError if there is anything wrong."""
    if faults:
        raise InvalidFieldsError(faults)
