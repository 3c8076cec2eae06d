"""`syntor agents`: which agents there are."""

from __future__ import annotations

from typing import Annotated

import typer

from syntor.cli.output import Format, print_json, table
from syntor.cli.runs_commands import asked

Output = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="List and show agents.", no_args_is_help=True)
    group.command("list")(list_agents)
    group.command("show")(show)
    app.add_typer(group, name="agents")


def list_agents(output: Output = Format.TEXT) -> None:
    """List all agents."""
    answer = asked("/v1/agents")
    if output is not Format.TEXT:
        print_json(answer)
        return
    rows = [
        (
            agent["profile"]["agent_id"],
            agent["status"],
            str(agent["instances"]),
            str(agent["active"]),
            agent["profile"].get("description", ""),
        )
        for agent in answer["agents"]
    ]
    print(table(("AGENT", "STATUS", "INSTANCES", "ACTIVE", "DESCRIPTION"), rows))


def show(
    agent_id: Annotated[str, typer.Argument(metavar="ID", help="Agent id or alias.")], output: Output = Format.TEXT
) -> None:
    """Show one agent."""
    agent = asked(f"/v1/agents/{agent_id}")
    if output is not Format.TEXT:
        print_json(agent)
        return
    profile = agent["profile"]
    fields = {
        "agent": profile["agent_id"],
        "name": profile["name"],
        "aliases": ", ".join(profile.get("aliases", [])),
        "description": profile.get("description", ""),
        "status": f"{agent['status']}, {agent['health']}",
        "instances": agent["instances"],
        "active": agent["active"],
        "capabilities": ", ".join(capability["name"] for capability in profile.get("capabilities", [])),
        "endpoint": profile.get("endpoint", ""),
        "registered": agent["registered_at"],
        "last seen": agent["last_seen"],
    }
    print("\n".join(f"{name:<13} {value}" for name, value in fields.items() if value not in ("", None)))
