"""The slash command of MCP servers; their prompts and resources are read in `mcp_session.py`."""

from __future__ import annotations

from syntor.cli.interactive.mcp_session import overview
from syntor.cli.interactive.session import Session, SlashCommand


def mcp(session: Session, rest: str) -> None:
    """List the servers with their prompts, which are completed from then on."""
    text, prompts = overview()
    session.descriptions |= prompts
    print(text)


COMMANDS = (SlashCommand("mcp", "list MCP servers with their prompts and resources", mcp),)
