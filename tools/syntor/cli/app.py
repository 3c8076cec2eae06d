"""The commands as data, and the typer application of the one that is called.

Only the module of the command in the arguments is loaded; the list of all is printed from the table below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import typer


class Command(NamedTuple):
    """One command or group of commands."""

    module: str
    """Has `register(app)`, which adds the command under its name."""
    help: str
    """One line; empty: not listed (an alias, or internal)."""
    section: str = ""
    """Heading it is listed under; empty: that of the one before."""


COMMANDS: dict[str, Command] = {
    "chat": Command("syntor.cli.chat", "Talk to the default agent (coordination), or to any: --agent", "Talk"),
    "coordination": Command("syntor.cli.chat", "Talk to the agent that routes, plans and delegates"),
    "docs": Command("syntor.cli.chat", "Talk to the documentation agent"),
    "git": Command("syntor.cli.chat", "Talk to the git agent"),
    "worker": Command("syntor.cli.chat", "Talk to the general worker; --code: the code worker"),
    "coord": Command("syntor.cli.chat", ""),
    "documentation": Command("syntor.cli.chat", ""),
    "interactive": Command("syntor.cli.interactive.command", ""),
    "runs": Command("syntor.cli.runs_commands", "List, show, follow, cancel and retry runs", "Inspect"),
    "sessions": Command("syntor.cli.sessions_commands", "List, show, resume, fork, rewind and export sessions"),
    "agents": Command("syntor.cli.agents_commands", "List and show agents"),
    "approvals": Command("syntor.cli.approvals_commands", "List and decide approvals of tool calls"),
    "questions": Command("syntor.cli.questions_commands", "List and answer questions of agents and tools"),
    "permissions": Command("syntor.cli.permissions_commands", "Show permission rules, and test what they decide"),
    "usage": Command("syntor.cli.usage_command", "Sum up tokens and cost by model, agent, session, run or day"),
    "events": Command("syntor.cli.events_commands", "Follow the event log"),
    "replay": Command("syntor.cli.replay_command", "Rebuild and verify state from the log"),
    "init": Command("syntor.cli.init_command", "Set up Syntor in four steps", "Set up"),
    "models": Command("syntor.cli.models_commands", "List, fetch and assign models"),
    "mcp": Command("syntor.cli.mcp_commands", "Use MCP servers, and serve Syntor to other hosts"),
    "config": Command("syntor.cli.config_commands", "Show and change the configuration"),
    "up": Command("syntor.cli.stack_commands", "Start the local stack", "Run"),
    "down": Command("syntor.cli.stack_commands", "Stop the local stack; nothing is lost"),
    "status": Command("syntor.cli.stack_commands", "Show each service of the local stack"),
    "logs": Command("syntor.cli.stack_commands", "Show the logs of the services"),
    "doctor": Command("syntor.cli.doctor", "Report problems and how to fix them"),
    "dlq": Command("syntor.cli.dlq_commands", "List, show, retry and drop dead-lettered messages"),
    "backup": Command("syntor.cli.backup_commands", "Create, verify and restore backups"),
    "tokens": Command("syntor.cli.tokens_commands", "Create, list and revoke tokens of the HTTP API"),
    "admin": Command("syntor.cli.admin_commands", "Apply users, streams and consumers to a NATS server"),
    "completion": Command("syntor.cli.completion_command", "Print the completion script of a shell"),
}


def build(name: str) -> typer.Typer:
    """Return the application with the command `name` (or the group of commands) in it."""
    import typer

    app = typer.Typer(
        name="syntor",
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )

    @app.callback()
    def syntor() -> None:  # makes typer keep command names with a single command
        """Run teams of LLM agents around one event log."""

    from importlib import import_module

    import_module(COMMANDS[name].module).register(app)
    return app


def overview() -> str:
    """Return the help of `syntor` itself."""
    lines = [
        "Usage: syntor [TEXT]              start an interactive session, TEXT being its first message",
        "       syntor COMMAND [ARGS]...   (details: syntor COMMAND --help)",
        "",
        "Runs teams of LLM agents as services around one event log.",
    ]
    width = max(len(name) for name, command in COMMANDS.items() if command.help)
    for name, command in COMMANDS.items():
        if command.section:
            lines += ["", f"{command.section}:"]
        if command.help:
            lines.append(f"  {name:<{width}}  {command.help}")
    lines += [
        "",
        "Options:",
        "  -m, --model MODEL   model for this session, provider/name",
        "  --session ID        continue a session; new:NAME makes one",
        "  --continue          continue the newest session",
        "  --mode MODE         permission mode: ask, auto-edit, plan or auto",
        "  --version           print the version",
        "  -h, --help          print this",
        "",
        "Exit codes: 0 done, 1 run failed, 2 usage, 3 configuration, 4 not reachable, 5 approval needed,",
        "            6 limit reached, 7 replay mismatch, 130 or 143 interrupted",
    ]
    return "\n".join(lines)
