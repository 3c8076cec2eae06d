"""`syntor agents`: list and show registered agents."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from syntor.cli.api import open_api
from syntor.cli.output import Format, print_json, table
from syntor.contracts.rpc.v1 import AgentView
from syntor.contracts.visible_text import visible

Output = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="List and show agents.", no_args_is_help=True)
    group.command("list")(list_agents)
    group.command("show")(show)
    app.add_typer(group, name="agents")


def list_agents(output: Output = Format.TEXT) -> None:
    """List all agents."""
    found = open_api().agents()
    if output is not Format.TEXT:
        print_json(found)
        return
    rows = [
        (agent.profile.agent_id, agent.status, str(agent.instances), str(agent.active), agent.profile.description)
        for agent in found.agents
    ]
    print(table(("AGENT", "STATUS", "INSTANCES", "ACTIVE", "DESCRIPTION"), rows))


def show(
    agent_id: Annotated[str, typer.Argument(metavar="ID", help="Agent id or alias.")], output: Output = Format.TEXT
) -> None:
    """Show one agent."""
    agent = open_api().agent(agent_id)
    if output is Format.TEXT:
        print(_details(agent))
    else:
        print_json(agent)


def _details(agent: AgentView) -> str:
    profile = agent.profile
    fields = {
        "agent": profile.agent_id,
        "name": profile.name,
        "aliases": ", ".join(profile.aliases),
        "description": profile.description,
        "status": f"{agent.status}, {agent.health}",
        "instances": agent.instances,
        "active": agent.active,
        "capabilities": ", ".join(capability.name for capability in profile.capabilities),
        "endpoint": profile.endpoint,
        "owner": profile.owner,
        "registered": msgspec.to_builtins(agent.registered_at),
        "last seen": msgspec.to_builtins(agent.last_seen),
    }
    return visible("\n".join(f"{name:<13} {value}" for name, value in fields.items() if value not in ("", None)))
