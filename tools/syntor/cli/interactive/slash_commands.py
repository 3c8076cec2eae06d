"""The table of slash commands. A new one is a function and a row in a module of `slash/`."""

from __future__ import annotations

from syntor.cli.interactive.session import SlashCommand
from syntor.cli.interactive.slash import context, conversation, decisions, mcp, rewinds, sessions, settings, views

COMMANDS: tuple[SlashCommand, ...] = (
    *conversation.COMMANDS,
    *decisions.COMMANDS,
    *rewinds.COMMANDS,
    *sessions.COMMANDS,
    *settings.COMMANDS,
    *views.COMMANDS,
    *context.COMMANDS,
    *mcp.COMMANDS,
)
