"""What the tool calls of one task are made with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from syntor.agentkit.checkpoints.keeper import Keeper
from syntor.agentkit.domain.external_results import ExternalResults
from syntor.agentkit.tools.sandbox import Sandbox
from syntor.agentkit.tools.tool import Tool
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.run.v1 import Permissions


class ToolCallDeps(msgspec.Struct):
    """Tools and everything their calls need."""

    tools: Mapping[str, Tool]
    """By name."""
    workspace: Path | None
    """Folder the tools work in; None: no tool of this process may run."""
    permissions: Permissions
    results: ExternalResults
    """What arrived for calls the task was paused for."""
    find_agent: Callable[[str], Awaitable[AgentProfile]]
    """Finds an agent by id or alias; raises NotFoundError, whose text names the known agents."""
    list_agents: Callable[[], Awaitable[list[AgentProfile]]]
    """Agents this one may delegate to."""
    delegates_to: list[str]
    """Ids of agents the manifest allows to delegate to; empty: any."""
    grants: Callable[[], Awaitable[list[str]]]
    """Reads the rules people approved for the session; called only when a call needs approval."""
    sandbox: Callable[[Path], Awaitable[Sandbox]]
    """Opens the sandbox of a workspace."""
    checkpoints: Keeper | None = None
    """Keeps the states of workspaces; None: none are kept."""
