"""All tools run in the agent's process, by name."""

from __future__ import annotations

from syntor.agentkit.tools.files import FILE_TOOLS
from syntor.agentkit.tools.git import GIT_TOOLS
from syntor.agentkit.tools.http import HTTP_TOOLS
from syntor.agentkit.tools.shell import SHELL_TOOLS
from syntor.agentkit.tools.tool import Tool

TOOLS: dict[str, Tool] = {tool.name: tool for tool in (*FILE_TOOLS, *SHELL_TOOLS, *HTTP_TOOLS, *GIT_TOOLS)}
