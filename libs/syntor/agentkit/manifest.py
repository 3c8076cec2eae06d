"""Agent manifests: an agent declared in YAML, with its prompt beside it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import yaml

from syntor.agentkit.tools.mcp_config import ANY as ANY_MCP
from syntor.agentkit.tools.mcp_config import PREFIX as MCP_PREFIX
from syntor.contracts.agent.v1 import AgentProfile, Capability
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.ids import is_token
from syntor.contracts.run.v1 import Budget

TYPES = ("service", "worker")


class Constraints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What bounds an agent."""

    max_concurrent: int = 10
    """Tasks one instance works on at once."""
    max_tool_rounds: int = 25
    """Rounds of tool calls before a task is given up."""
    max_output_tokens: int | None = None
    """Tokens of one answer; None: the model's own limit."""
    context_tokens: int = 0
    """Tokens of a conversation beyond which old tool results are left out; 0: as the model takes."""
    timeout_s: float | None = None
    """Seconds a task may be worked on without a pause; None: as the run allows."""
    budget: Budget | None = None
    """What all tasks of this agent may use in one day (UTC)."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One agent."""

    id: str
    name: str
    description: str
    type: str = "service"
    version: str = "1.0.0"
    aliases: list[str] = []
    capabilities: list[Capability] = []
    model: str = ""
    """`provider/name`; empty: as configured."""
    fallbacks: list[str] = []
    prompt: str = ""
    """System prompt; empty: the file `prompt.md` beside the manifest."""
    tools: list[str] = []
    """Names of tools; `mcp` stands for those of all configured MCP servers, `mcp_<server>` for those of one."""
    delegates_to: list[str] = []
    """Agents its delegate, handoff and plan tools may name; empty: any."""
    constraints: Constraints = Constraints()

    def profile(self, max_concurrent: int) -> AgentProfile:
        """Return what the agent registers with."""
        return AgentProfile(
            agent_id=self.id,
            name=self.name,
            type=self.type,
            version=self.version,
            description=self.description,
            capabilities=self.capabilities,
            queue=self.id,
            model=self.model,
            aliases=self.aliases,
            max_concurrent=max_concurrent,
        )


def read_manifest(path: Path, known_tools: frozenset[str]) -> Manifest:
    """Read a manifest and its prompt.

    Raises:
        ConfigurationError: it cannot be read, or a field is wrong; names file, field, value and what is expected.
    """
    try:
        manifest = msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Manifest)
        if not manifest.prompt:
            prompt = path.with_name("prompt.md").read_text(encoding="utf-8").strip()
            manifest = msgspec.structs.replace(manifest, prompt=prompt)
    except OSError as exc:
        raise ConfigurationError(f"{exc.filename}: {exc.strerror}") from exc
    except (yaml.YAMLError, msgspec.ValidationError) as exc:
        raise ConfigurationError(f"{path}: {exc}") from exc
    for name in (manifest.id, *manifest.aliases):
        if not is_token(name):
            raise ConfigurationError(f"{path}: id or alias {name!r}: use 1 to 64 letters, digits, '_' or '-'")
    if manifest.type not in TYPES:
        raise ConfigurationError(f"{path}: type {manifest.type!r}: expected {' or '.join(TYPES)}")
    for tool in manifest.tools:
        if tool not in known_tools and tool != ANY_MCP and not tool.startswith(MCP_PREFIX):
            raise ConfigurationError(
                f"{path}: tool {tool!r} is unknown; there are {', '.join(sorted(known_tools))}, mcp"
            )
    timeout_s = manifest.constraints.timeout_s
    if timeout_s is not None and timeout_s <= 0:
        raise ConfigurationError(f"{path}: constraints.timeout_s {timeout_s:g}: expected more than 0")
    if manifest.constraints.max_concurrent < 1 or manifest.constraints.max_tool_rounds < 0:
        raise ConfigurationError(f"{path}: constraints: max_concurrent must be at least 1, max_tool_rounds at least 0")
    return manifest
