"""All tools there are: those made here, and those that have other agents do something."""

from __future__ import annotations

from syntor.agentkit.tools.catalog import TOOLS
from syntor.agentkit.tools.delegation import DELEGATION_TOOLS
from syntor.agentkit.tools.tool import Tool


def all_tools() -> dict[str, Tool]:
    """Return every tool by its name."""
    return {**TOOLS, **{tool.name: tool for tool in DELEGATION_TOOLS}}


def known_tools() -> frozenset[str]:
    """Return the names a manifest may use."""
    return frozenset(all_tools())
