"""Bodies of requests that start or change runs. Each bound is enforced by decoding, and is in the description."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from syntor.contracts.run.v1 import Attachment, Budget, Permissions
from syntor.ingress.http.bounds import (
    MAX_TASK_TIME_S,
    MAX_WALL_TIME_S,
    AbsolutePath,
    Count,
    Metadata,
    Name,
    OptionalToken,
    Reason,
    RequiredText,
    Rule,
    ShortText,
    Text,
    Token,
)


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A body, or an object inside one."""


class SessionBudgetInput(Body, frozen=True, kw_only=True):
    """Limits of all runs of a session together; what is left out has no limit."""

    max_tokens: Count | None = None
    """Input and output tokens of all model calls."""
    max_cost_microusd: Count | None = None
    """Cost in millionths of a US dollar."""
    max_calls: Count | None = None
    """Model calls."""


class BudgetInput(SessionBudgetInput, frozen=True, kw_only=True):
    """Limits of a run; what is left out has no limit."""

    max_wall_time_s: Annotated[float, Meta(gt=0, le=MAX_WALL_TIME_S)] | None = None
    """Seconds from its creation to its end."""


Rules = Annotated[list[Rule], Meta(max_length=200)]


class PermissionsInput(Body, frozen=True, kw_only=True):
    """What agents may do without approval. Rules are `tool` or `tool(pattern)`, `*` matches anything."""

    mode: Literal["", "ask", "auto-edit", "plan", "auto"] = ""
    """Empty: as configured."""
    allow: Rules = []
    """Calls that need no approval."""
    ask: Rules = []
    """Calls that need approval."""
    deny: Rules = []
    """Calls that are refused."""


class AttachmentInput(Body, frozen=True, kw_only=True):
    """A named text that is sent with the input."""

    name: Annotated[str, Meta(min_length=1, max_length=1024)]
    content: Text


class StartRun(Body, frozen=True, kw_only=True):
    """Body of POST /v1/runs."""

    agent: Name
    """Id or alias of the agent."""
    input: RequiredText
    """Message to the agent."""
    session_id: OptionalToken = ""
    """Session to continue; empty: a new one."""
    model: ShortText = ""
    """Model of this run only."""
    budget: BudgetInput | None = None
    """Limits of this run."""
    session_budget: SessionBudgetInput | None = None
    """Limits of all runs of the session together."""
    permissions: PermissionsInput | None = None
    """What agents may do without approval; left out: as configured."""
    metadata: Metadata = {}
    """Labels of the caller."""
    workspace: AbsolutePath = ""
    """Absolute folder the agent's tools may read."""
    attachments: Annotated[list[AttachmentInput], Meta(max_length=100)] = []
    """Texts that are sent with the input."""
    timeout_s: Annotated[float, Meta(gt=0, le=MAX_TASK_TIME_S)] | None = None
    """Seconds a task of the run may take."""

    def digest(self) -> str:
        """Return a digest that is equal for equal requests, whatever their formatting."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def event_budget(self) -> Budget | None:
        """Return the limits of the run as the event has them."""
        return _event_budget(self.budget)

    def event_session_budget(self) -> Budget | None:
        """Return the limits of the session as the event has them."""
        return _event_budget(self.session_budget)

    def event_permissions(self) -> Permissions | None:
        """Return the permissions as the event has them."""
        given = self.permissions
        if given is None:
            return None
        return Permissions(mode=given.mode or None, allow=given.allow, ask=given.ask, deny=given.deny)

    def event_attachments(self) -> list[Attachment]:
        """Return the attachments as the event has them."""
        return [Attachment(name=one.name, content=one.content) for one in self.attachments]


def _event_budget(given: SessionBudgetInput | None) -> Budget | None:
    return None if given is None else Budget(**msgspec.structs.asdict(given))


class InputMessage(Body, frozen=True, kw_only=True):
    """The message of an internal invocation."""

    role: Literal["user"]
    content: RequiredText
    """Message to the agent."""


class Invoke(Body, frozen=True, kw_only=True):
    """Body of POST /internal/invoke."""

    session_id: Token
    agent_id: Name
    input_message: InputMessage
    request_id: Annotated[str, Meta(max_length=255)] = ""
    """Idempotency key; empty: none."""

    def start_run(self) -> StartRun:
        """Return the run it creates."""
        return StartRun(agent=self.agent_id, input=self.input_message.content, session_id=self.session_id)


class CancelRun(Body, frozen=True, kw_only=True):
    """Body of POST /v1/runs/{run_id}/cancel; may be absent."""

    reason: Reason = ""
    """Why, for people."""


class NoFields(Body, frozen=True, kw_only=True):
    """A body without fields; may be absent."""
