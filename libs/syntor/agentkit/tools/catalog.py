"""All tools by name."""

from __future__ import annotations

from syntor.agentkit.tools.files import FILE_TOOLS
from syntor.agentkit.tools.git import GIT_TOOLS
from syntor.agentkit.tools.tool import Tool

TOOLS: dict[str, Tool] = {tool.name: tool for tool in (*FILE_TOOLS, *GIT_TOOLS)}
