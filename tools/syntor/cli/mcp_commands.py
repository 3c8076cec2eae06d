"""`syntor mcp`: the configured MCP servers, logins to them, and Syntor as a server for other hosts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from syntor.cli.output import ExitCode, Format, fail, print_json, table
from syntor.contracts.errors import ConfigurationError, InvalidInputError, NotReachableError
from syntor.stack.layout import home_folder

Server = Annotated[str, typer.Argument(metavar="SERVER", help="Name of a server; `syntor mcp list` shows them.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]
Mode = Annotated[str, typer.Option("--mode", help="Permission mode of the runs: ask, auto-edit, plan or auto.")]
Folder = Annotated[str, typer.Option("--workspace", help="Folder of the runs; empty: the working folder.")]
Decisions = Annotated[
    bool, typer.Option("--allow-decisions", help="Let the host decide approvals: its model could approve itself.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Use MCP servers, and serve Syntor to other hosts.", invoke_without_command=True)
    group.callback()(default)
    group.command("list")(list_servers)
    group.command("test")(test)
    group.command("accept")(accept)
    group.command("login")(login)
    group.command("logout")(logout)
    group.command("serve")(serve)
    app.add_typer(group, name="mcp")


def default(context: typer.Context) -> None:
    """Use MCP servers, and serve Syntor to other hosts. Without a command and a terminal: serve."""
    if context.invoked_subcommand is None:
        if sys.stdin.isatty():
            print(context.get_help())
        else:
            serve()


def list_servers(output: Output = Format.TEXT) -> None:
    """List the configured servers, and what is wrong with their entries."""
    from syntor.agentkit.tools.mcp_oauth import LoginStore
    from syntor.cli.mcp_access import configured

    found, home = configured(), home_folder(os.environ)
    rows: list[tuple[str, str, str, str]] = []
    for name, each in found.servers.items():
        kind = each.server.type or ("stdio" if each.server.command else "http")
        state = "logged in" if LoginStore(home, name).exists else ""
        rows.append((name, kind, each.server.url or " ".join([each.server.command, *each.server.args]), state))
    rows += [(name, "", "", "disabled") for name in found.disabled]
    if output is not Format.TEXT:
        shown = [dict(zip(("name", "type", "address", "state"), row, strict=True)) for row in rows]
        print_json({"servers": shown, "problems": found.problems, "notes": found.notes})
        return
    print(table(("SERVER", "TYPE", "ADDRESS", "STATE"), rows) if rows else f"no servers in {home / 'mcp.json'}")
    for line in found.problems:
        sys.stderr.write(f"problem: {line}\n")
    for line in found.notes:
        sys.stderr.write(f"note: {line}\n")


def test(name: Server) -> None:
    """Connect to a server and list what it offers."""
    from syntor.agentkit.tools.mcp import McpConnection
    from syntor.agentkit.tools.mcp_consent import offered_tools
    from syntor.agentkit.tools.mcp_resources import listed
    from syntor.cli.mcp_access import connected, find, prompts
    from syntor.contracts.visible_text import visible_line

    async def look(connection: McpConnection) -> None:
        tools, notes = offered_tools(connection)
        rows = [(tool.name, visible_line(tool.description, 100)) for tool in tools.values()]
        print(table(("TOOL", ""), rows) if rows else "no tools")
        for line in await listed(connection):
            print(f"resource {line}")
        for line in notes:
            sys.stderr.write(f"note: {line}\n")

    try:
        server = find(name)
        connected(server, look)
        for prompt, text in prompts(server):
            print(f"prompt /mcp__{name}__{prompt}  {text}".rstrip())
    except (InvalidInputError, NotReachableError) as exc:
        _fail(exc)


def accept(
    name: Server,
    yes: Annotated[bool, typer.Option("--yes", help="Accept without the question.")] = False,
) -> None:
    """Show what a server changed since its tools were accepted, and accept it."""
    from syntor.agentkit.domain.mcp_definition import difference
    from syntor.agentkit.tools.mcp import McpConnection
    from syntor.cli.mcp_access import connected, find

    async def look(connection: McpConnection) -> None:
        known = connection.accepted.known()
        now = connection.definitions
        changed = [each for title, each in now.items() if (known or {}).get(title) != each]
        for each in changed:
            print(difference((known or {}).get(each.name), each), end="\n\n")
        if not changed:
            print("nothing changed")
        elif yes or (sys.stdin.isatty() and typer.confirm(f"Accept these {len(changed)} tools?")):
            connection.accepted.accept(changed)
            print(f"accepted: {len(changed)}")
        else:
            fail("not accepted", ExitCode.APPROVAL_NEEDED, "" if sys.stdin.isatty() else "--yes accepts")

    try:
        connected(find(name), look)
    except (InvalidInputError, NotReachableError) as exc:
        _fail(exc)


def login(
    name: Server,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address to open.")] = False,
) -> None:
    """Log in to a remote server by OAuth; agents use and refresh the login."""
    from syntor.agentkit.tools.mcp_oauth import LoginStore
    from syntor.cli.mcp_access import find
    from syntor.cli.mcp_login import log_in

    home = home_folder(os.environ)
    try:
        server = find(name)
        if not server.server.url:
            fail(f"MCP server {name} is a program on this machine: it has no login", ExitCode.USAGE)
        count, needed = log_in(server, home, browser=not no_browser)
    except (InvalidInputError, NotReachableError, ConfigurationError) as exc:
        _fail(exc)
    where = LoginStore(home, name).where
    print(
        f"logged in to {name}, kept in the {where}: {count} tools"
        if needed
        else f"{name} needs no login: {count} tools"
    )


def logout(name: Server) -> None:
    """Forget the login to a server."""
    from syntor.agentkit.tools.mcp_oauth import LoginStore

    print("logged out" if LoginStore(home_folder(os.environ), name).remove() else f"there was no login to {name}")


def serve(mode: Mode = "", workspace: Folder = "", allow_decisions: Decisions = False) -> None:
    """Serve Syntor's agents and runs as tools to another host, over standard input and output."""
    from syntor.cli.mcp_server import serve_stdio
    from syntor.contracts.vocabulary import MODES

    if mode and mode not in MODES:
        fail(f"--mode {mode}: expected one of {', '.join(MODES)}", ExitCode.USAGE)
    serve_stdio(mode, Path(workspace or ".").resolve(), decisions=allow_decisions)


def _fail(exc: Exception) -> NoReturn:
    fail(str(exc), ExitCode.NOT_REACHABLE if isinstance(exc, NotReachableError) else ExitCode.CONFIGURATION)
