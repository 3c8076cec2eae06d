"""Agent manifests: an agent declared in YAML, with its prompt beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo

from syntor.agentkit.domain.mcp_names import is_mcp_name
from syntor.contracts import bounds
from syntor.contracts.agent.v1 import AgentProfile, Capability
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.ids import is_token
from syntor.contracts.run.v1 import Budget
from syntor.contracts.vocabulary import AgentKind
from syntor.documents import DocumentModel, expectation, nearest, parse_yaml, read_text, validate

_KNOWN_TOOLS = "known_tools"


def _token(text: str) -> str:
    if not is_token(text):
        raise expectation("1 to 64 letters, digits, '_' or '-'")
    return text


def _tool(name: str, info: ValidationInfo) -> str:
    """Check a tool's name against those that are known, where the caller gave them."""
    context: Any = info.context or {}
    known = context.get(_KNOWN_TOOLS)
    if known is None or name in known or is_mcp_name(name):
        return name
    near = nearest(name, known)
    raise ValueError(f"unknown tool {name!r}; {near or 'there are ' + ', '.join(sorted(known)) + ', mcp'}")


Token = Annotated[str, AfterValidator(_token)]
ShortText = Annotated[str, Field(min_length=1, max_length=200)]
ModelName = Annotated[str, Field(max_length=200)]
Version = Annotated[str, Field(min_length=1, max_length=64)]


class DeclaredCapability(DocumentModel):
    """Something the agent can do."""

    name: ShortText
    """Compared without regard to case."""
    version: Version = "1.0"
    """Compared by its major number."""
    description: str = Field(default="", max_length=2000)
    """For people and for models that route."""


class DailyBudget(DocumentModel):
    """Limits of what the agent may use; None is no limit."""

    max_tokens: int | None = Field(default=None, ge=1, le=bounds.MAX_TOKENS)
    """Input and output tokens of all model calls together."""
    max_cost_microusd: int | None = Field(default=None, ge=1, le=bounds.MAX_COST_MICROUSD)
    """Cost, in millionths of a US dollar."""
    max_calls: int | None = Field(default=None, ge=1, le=bounds.MAX_COUNT)
    """Model calls."""
    max_wall_time_s: float | None = Field(default=None, gt=0, le=bounds.MAX_DURATION_S)
    """Seconds."""


class Constraints(DocumentModel):
    """What bounds an agent."""

    max_concurrent: int = Field(default=10, ge=1, le=1000)
    """Tasks one instance works on concurrently."""
    max_tool_rounds: int = Field(default=25, ge=0, le=1000)
    """Rounds of tool calls before a task fails."""
    max_output_tokens: int | None = Field(default=None, ge=1, le=bounds.MAX_TOKENS)
    """Tokens of one completion; None: the model's own limit."""
    context_tokens: int = Field(default=0, ge=0, le=bounds.MAX_TOKENS)
    """Tokens of a conversation beyond which old tool results are left out; 0: the model's own limit."""
    timeout_s: float | None = Field(default=None, gt=0, le=bounds.MAX_TIMEOUT_S)
    """Seconds a task may be in progress without a pause; None: as the run allows."""
    budget: DailyBudget | None = None
    """What all tasks of this agent may use in one day (UTC)."""

    def daily_budget(self) -> Budget | None:
        """Return the budget as the contracts have it."""
        return None if self.budget is None else Budget(**self.budget.model_dump())


class Manifest(DocumentModel):
    """One agent."""

    id: Token
    """The agent's id; also the name of its task queue."""
    name: ShortText
    """For people."""
    description: str = Field(max_length=2000)
    """One line: what to ask the agent for."""
    type: AgentKind = "service"
    """Kind of the agent."""
    version: Version = "1.0.0"
    """Of this manifest."""
    aliases: list[Token] = Field(default=[], max_length=16)
    """Other names people may call the agent by."""
    capabilities: list[DeclaredCapability] = Field(default=[], max_length=64)
    """What the agent can do."""
    model: ModelName = ""
    """`provider/name`; empty: as configured."""
    fallbacks: list[ModelName] = Field(default=[], max_length=16)
    """Models to try, in order, when the agent's own fails."""
    prompt: str = Field(default="", max_length=256 * 1024)
    """System prompt; empty: the file `prompt.md` beside the manifest."""
    tools: list[Annotated[ShortText, AfterValidator(_tool)]] = Field(default=[], max_length=256)
    """Names of tools; `mcp` stands for those of all configured MCP servers, `mcp_<server>` for those of one."""
    delegates_to: list[Token] = Field(default=[], max_length=256)
    """Agents its delegate, handoff and plan tools may name; empty: any."""
    constraints: Constraints = Constraints()
    """What bounds the agent."""

    def profile(self, max_concurrent: int) -> AgentProfile:
        """Return what the agent registers with."""
        return AgentProfile(
            agent_id=self.id,
            name=self.name,
            type=self.type,
            version=self.version,
            description=self.description,
            capabilities=[Capability(**capability.model_dump()) for capability in self.capabilities],
            queue=self.id,
            model=self.model,
            aliases=self.aliases,
            max_concurrent=max_concurrent,
        )


def read_manifest(path: Path, known_tools: frozenset[str]) -> Manifest:
    """Read a manifest and its prompt.

    Raises:
        ConfigurationError: a file cannot be read, or fields are wrong; names file, line, field, value and what is
            allowed, for every error.
    """
    try:
        manifest = validate(parse_yaml(read_text(path), str(path)), Manifest, {_KNOWN_TOOLS: known_tools})
        if manifest.prompt:
            return manifest
        return manifest.model_copy(update={"prompt": read_text(path.with_name("prompt.md")).strip()})
    except FileNotFoundError as exc:
        raise ConfigurationError(f"{exc.filename}: {exc.strerror}") from exc
