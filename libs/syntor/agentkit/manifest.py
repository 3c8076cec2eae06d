"""Agent manifests: an agent declared in YAML, with its prompt beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from syntor.agentkit.domain.mcp_names import is_mcp_name
from syntor.contracts import bounds
from syntor.contracts.agent.v1 import AgentProfile, Capability
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.run.v1 import Budget
from syntor.contracts.vocabulary import AgentKind
from syntor.documents import Check, Document, matching, nearest, parse_yaml, read_as, read_text

_KNOWN_TOOLS = "known_tools"


def _check_tool(name: str, context: Mapping[str, Any]) -> None:
    """Check a tool's name against those that are known, where the caller gave them."""
    known = context.get(_KNOWN_TOOLS)
    if known is None or name in known or is_mcp_name(name):
        return
    near = nearest(name, known)
    raise ValueError(f"unknown tool {name!r}; {near or 'there are ' + ', '.join(sorted(known)) + ', mcp'}")


Token = Annotated[str, matching(r"[A-Za-z0-9_-]{1,64}\Z", "1 to 64 letters, digits, '_' or '-'")]
ShortText = Annotated[str, Meta(min_length=1, max_length=200)]
LongText = Annotated[str, Meta(max_length=2000)]
ModelName = Annotated[str, Meta(max_length=200)]
Version = Annotated[str, Meta(min_length=1, max_length=64)]


class DeclaredCapability(msgspec.Struct, frozen=True):
    """Something the agent can do."""

    name: ShortText
    """Compared without regard to case."""
    version: Version = "1.0"
    """Compared by its major number."""
    description: LongText = ""
    """For people and for models that route."""


class DailyBudget(msgspec.Struct, frozen=True):
    """Limits of what the agent may use; None is no limit."""

    max_tokens: bounds.LimitTokens | None = None
    """Input and output tokens of all model calls together."""
    max_cost_microusd: bounds.LimitCostMicrousd | None = None
    """Cost, in millionths of a US dollar."""
    max_calls: bounds.LimitCount | None = None
    """Model calls."""
    max_wall_time_s: bounds.LimitSeconds | None = None
    """Seconds."""


class Constraints(msgspec.Struct, frozen=True):
    """What bounds an agent."""

    max_concurrent: Annotated[int, Meta(ge=1, le=1000)] = 10
    """Tasks one instance works on concurrently."""
    max_tool_rounds: Annotated[int, Meta(ge=0, le=1000)] = 25
    """Rounds of tool calls before the model has to answer without tools."""
    max_output_tokens: bounds.LimitTokens | None = None
    """Tokens of one completion; None: the model's own limit."""
    context_tokens: bounds.Tokens = 0
    """Tokens of a conversation beyond which old tool results are left out; 0: the model's own limit."""
    timeout_s: bounds.Timeout | None = None
    """Seconds a task may be in progress without a pause; None: as the run allows."""
    budget: DailyBudget | None = None
    """What all tasks of this agent may use in one day (UTC)."""

    def daily_budget(self) -> Budget | None:
        """Return the budget as the contracts have it."""
        return None if self.budget is None else Budget(**msgspec.structs.asdict(self.budget))


class Manifest(msgspec.Struct, frozen=True):
    """One agent."""

    id: Token
    """The agent's id; also the name of its task queue."""
    name: ShortText
    """For people."""
    description: LongText
    """One line: what to ask the agent for."""
    type: AgentKind = "service"
    """Kind of the agent."""
    version: Version = "1.0.0"
    """Of this manifest."""
    aliases: Annotated[list[Token], Meta(max_length=16)] = []
    """Other names people may call the agent by."""
    capabilities: Annotated[list[DeclaredCapability], Meta(max_length=64)] = []
    """What the agent can do."""
    model: ModelName = ""
    """`provider/name`; empty: as configured."""
    fallbacks: Annotated[list[ModelName], Meta(max_length=16)] = []
    """Models to try, in order, when the agent's own fails."""
    prompt: Annotated[str, Meta(max_length=256 * 1024)] = ""
    """System prompt; empty: the file `prompt.md` beside the manifest."""
    tools: Annotated[list[Annotated[ShortText, Check(_check_tool)]], Meta(max_length=256)] = []
    """Names of tools; `mcp` stands for those of all configured MCP servers, `mcp_<server>` for those of one."""
    delegates_to: Annotated[list[Token], Meta(max_length=256)] = []
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
            capabilities=[Capability(**msgspec.structs.asdict(capability)) for capability in self.capabilities],
            queue=self.id,
            model=self.model,
            aliases=self.aliases,
            max_concurrent=max_concurrent,
        )


def read_manifest(path: Path, known_tools: frozenset[str]) -> Manifest:
    """Read a hand-written manifest and its prompt.

    Raises:
        ConfigurationError: a file cannot be read, or fields are wrong; names file, line, field, value and what is
            allowed, for every error.
    """
    return _with_prompt(path, read_as(_parsed(path), Manifest, {_KNOWN_TOOLS: known_tools}))


def read_built_in_manifest(path: Path) -> Manifest:
    """Read a manifest that is part of this distribution, and its prompt, without pydantic; a test validates them all.

    Raises:
        ConfigurationError: a file cannot be read, or its first wrong field is named.
    """
    try:
        return _with_prompt(path, msgspec.convert(_parsed(path).content, Manifest))
    except msgspec.ValidationError as exc:
        raise ConfigurationError(f"{path}: {exc}") from exc


def _parsed(path: Path) -> Document:
    return parse_yaml(_text(path), str(path))


def _with_prompt(path: Path, manifest: Manifest) -> Manifest:
    if manifest.prompt:
        return manifest
    return msgspec.structs.replace(manifest, prompt=_text(path.with_name("prompt.md")).strip())


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError as exc:
        raise ConfigurationError(f"{exc.filename}: {exc.strerror}") from exc
