"""All built-in tools, by name."""

from __future__ import annotations

from syntor.agentkit.tools.ask_user import ASK_USER_TOOL
from syntor.agentkit.tools.delegation import DELEGATION_TOOLS
from syntor.agentkit.tools.files import FILE_TOOLS
from syntor.agentkit.tools.git import GIT_TOOLS
from syntor.agentkit.tools.http import HTTP_TOOLS
from syntor.agentkit.tools.notebooks import NOTEBOOK_TOOLS
from syntor.agentkit.tools.patches import PATCH_TOOLS
from syntor.agentkit.tools.shell import SHELL_TOOLS
from syntor.agentkit.tools.todo import TODO_TOOLS
from syntor.agentkit.tools.tool import Tool

LOCAL_TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tools in (FILE_TOOLS, PATCH_TOOLS, NOTEBOOK_TOOLS, SHELL_TOOLS, HTTP_TOOLS, GIT_TOOLS, TODO_TOOLS)
    for tool in tools
}
"""Tools that run in the agent's process."""


def all_tools() -> dict[str, Tool]:
    """Return every built-in tool by its name."""
    return {**LOCAL_TOOLS, **{tool.name: tool for tool in (*DELEGATION_TOOLS, ASK_USER_TOOL)}}


def known_tools() -> frozenset[str]:
    """Return the names of built-in tools a manifest may use."""
    return frozenset(all_tools())
