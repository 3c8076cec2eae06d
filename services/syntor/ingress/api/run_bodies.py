"""Bodies of requests that start or change runs. Each bound is enforced by decoding, and is in the description."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from syntor.contracts.bounds import Labels, LimitCostMicrousd, LimitCount, LimitTokens, Line, Name, Timeout, Token
from syntor.contracts.run.v1 import Attachment, Budget, Permissions
from syntor.ingress.http.bounds import (
    AbsolutePath,
    AgentName,
    BodyText,
    IdempotencyKey,
    OptionalToken,
    Reason,
    RequiredText,
    Rules,
)


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A body, or an object inside one."""


class BudgetInput(Budget, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Limits of a run; what is left out has no limit."""


class SessionBudgetInput(Body, frozen=True, kw_only=True):
    """Limits of all runs of a session together; what is left out has no limit."""

    max_tokens: LimitTokens | None = None
    """Input and output tokens of all model calls."""
    max_cost_microusd: LimitCostMicrousd | None = None
    """Cost in millionths of a US dollar."""
    max_calls: LimitCount | None = None
    """Model calls."""


class PermissionsInput(Permissions, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What agents may do without approval. Rules are `tool` or `tool(pattern)`, `*` matches anything."""

    allow: Rules = []
    ask: Rules = []
    deny: Rules = []


class AttachmentInput(Attachment, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A named text that is sent with the input."""

    name: Annotated[Line, Meta(min_length=1)]
    content: BodyText


class StartRun(Body, frozen=True, kw_only=True):
    """Body of POST /v1/runs."""

    agent: AgentName
    """Id or alias of the agent."""
    input: RequiredText
    """Message to the agent."""
    session_id: OptionalToken = ""
    """Session to continue; empty: a new one."""
    model: Name = ""
    """Model of this run only."""
    budget: BudgetInput | None = None
    """Limits of this run."""
    session_budget: SessionBudgetInput | None = None
    """Limits of all runs of the session together."""
    permissions: PermissionsInput | None = None
    """What agents may do without approval; left out: as configured."""
    metadata: Labels = {}
    """Labels of the caller."""
    workspace: AbsolutePath = ""
    """Absolute folder the agent's tools may read."""
    attachments: Annotated[list[AttachmentInput], Meta(max_length=1000)] = []
    """Texts that are sent with the input."""
    timeout_s: Timeout | None = None
    """Seconds a task of the run may take."""

    def digest(self) -> str:
        """Return a digest that is equal for equal requests, whatever their formatting."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def event_budget(self) -> Budget | None:
        """Return the limits of the run as the event has them."""
        return None if self.budget is None else Budget(**msgspec.structs.asdict(self.budget))

    def event_session_budget(self) -> Budget | None:
        """Return the limits of the session as the event has them."""
        return None if self.session_budget is None else Budget(**msgspec.structs.asdict(self.session_budget))

    def event_permissions(self) -> Permissions | None:
        """Return the permissions as the event has them."""
        return None if self.permissions is None else Permissions(**msgspec.structs.asdict(self.permissions))

    def event_attachments(self) -> list[Attachment]:
        """Return the attachments as the event has them."""
        return [Attachment(name=one.name, content=one.content) for one in self.attachments]


class InputMessage(Body, frozen=True, kw_only=True):
    """The message of an internal invocation."""

    role: Literal["user"]
    content: RequiredText
    """Message to the agent."""


class Invoke(Body, frozen=True, kw_only=True):
    """Body of POST /internal/invoke."""

    session_id: Token
    agent_id: AgentName
    input_message: InputMessage
    request_id: IdempotencyKey = ""
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
