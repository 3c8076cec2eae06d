"""All built-in tools: those run in the agent's process, and those that delegate to other agents."""

from __future__ import annotations

from syntor.agentkit.tools.catalog import TOOLS
from syntor.agentkit.tools.delegation import DELEGATION_TOOLS
from syntor.agentkit.tools.tool import Tool


def all_tools() -> dict[str, Tool]:
    """Return every built-in tool by its name."""
    return {**TOOLS, **{tool.name: tool for tool in DELEGATION_TOOLS}}


def known_tools() -> frozenset[str]:
    """Return the names a manifest may use."""
    return frozenset(all_tools())
