"""`syntor up`, `down`, `status` and `logs`: the local stack."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from syntor.cli.output import ExitCode, Format, fail, print_json, table
from syntor.cli.version import VERSION
from syntor.runtime.disk import no_room
from syntor.stack.layout import Layout, home_folder
from syntor.stack.running import call_stack, running_stack, start_detached, stop_stack, supervisor_command
from syntor.stack.services import MODEL_SERVER, NATS, SERVICES
from syntor.stack.state import ServiceState, StackState

OutputOption = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(logs)


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once everything is ready.")] = False,
    durability: Annotated[
        str, typer.Option(help="durable (default): acknowledged events are on disk; fast: synced every 100 ms.")
    ] = "",
    provider: Annotated[str, typer.Option(help="Model provider; overrides the configuration.")] = "",
    model: Annotated[str, typer.Option("--model", "-m", help="Model of all agents; overrides the configuration.")] = "",
    services: Annotated[str, typer.Option(help="Only these services, separated by commas.")] = "",
) -> None:
    """Start the local stack: nats-server and every service, supervised.

    Without --detach it runs until Ctrl-C. If the stack is running already, the exit code is 0 with --detach and 2
    without, or 2 when it runs with another durability.
    """
    from syntor.stack import banner
    from syntor.stack.prepare import prepare

    home = home_folder(os.environ)
    options = prepare(
        home, os.environ, durability=durability, provider=provider, model=model, services=services, version=VERSION
    )
    running = running_stack(home)
    if running is not None:
        _already_runs(running, detach, durability)
        return
    if not detach:
        for text in Layout(home).create():
            sys.stderr.write(f"note: {text}\n")
        sys.stdout.flush()
        os.execv(
            sys.executable, supervisor_command(options)
        )  # so that the supervisor does not keep this program's memory
    state = start_detached(options)
    if durability and state.durability not in (durability, "external"):  # of another `syntor up` at this moment
        _already_runs(state, detach, durability)
    sys.stdout.write(banner.render(state, options.version, foreground=False))


def _already_runs(running: StackState, detach: bool, durability: str) -> None:
    where = f"Syntor is already running at {running.url or 'an address not known yet'} (pid {running.pid})"
    if durability and durability != running.durability and running.durability != "external":
        fail(f"{where} with durability {running.durability}", ExitCode.USAGE, "stop it first: syntor down")
    if not detach:
        fail(where, ExitCode.USAGE, "see it: syntor status · stop it: syntor down")
    sys.stdout.write(f"{where}\n")


def down() -> None:
    """Stop the local stack; unfinished tasks resume at the next start."""
    stopped = stop_stack(home_folder(os.environ))
    sys.stdout.write("stopped\n" if stopped else "nothing was running\n")


def status(output: OutputOption = Format.TEXT) -> None:
    """Show each service: state, process, health address, restarts.

    With SYNTOR_URL or SYNTOR_NATS_URL: the services that respond there.
    """
    home = home_folder(os.environ)
    running = None if os.environ.get("SYNTOR_URL") else running_stack(home)
    if running is None and (os.environ.get("SYNTOR_URL") or os.environ.get("SYNTOR_NATS_URL")):
        _deployment(output)
        return
    if running is None:
        fail(f"nothing runs for {home}", ExitCode.NOT_REACHABLE, "start it: syntor up --detach")
    state = msgspec.convert(call_stack(running, "GET", "/status"), StackState)
    if output is not Format.TEXT:
        print_json(
            {
                "url": state.url,
                "nats_url": state.nats_url,
                "data": state.data,
                "services": [
                    {name: getattr(service, name) for name in ("name", "pid", "state", "health_url", "restarts")}
                    for service in state.services
                ],
            }
        )
        return
    for name, text in (("API", state.url), ("NATS", state.nats_url), ("Data", state.data)):
        sys.stdout.write(f"{name:<11} {text}\n")
    sys.stdout.write(f"Durability  {state.durability}\n")
    if state.log_folder and (full := no_room(state.log_folder)):
        sys.stdout.write(f"Problem     {full}\n")
    for path in Layout(home).set_aside():
        sys.stdout.write(f"Note        {path} was damaged, set aside and made anew\n")
    for line in _mcp_problems(home):
        sys.stdout.write(f"Problem     {line}\n")
    sys.stdout.write("\n")
    headers = ["SERVICE", "STATE", "PID", "PORT", "RESTARTS", "NOTE"]
    sys.stdout.write(table(headers, [_row(service) for service in state.services]) + "\n")


def _mcp_problems(home: Path) -> list[str]:
    """Return what is wrong in mcp.json; the file is read, and pydantic loaded, only where there is one."""
    from syntor.agentkit.domain.mcp_names import CONFIG_FILE

    path = home / CONFIG_FILE
    if not path.exists():
        return []
    from syntor.agentkit.tools.mcp_config import read_servers

    return read_servers([(path, Path.home())], os.environ).problems


def _deployment(output: Format) -> None:
    """Show the services of a deployment that was not started here."""
    from syntor.cli import deployment
    from syntor.cli.finding import PROBLEM

    found = deployment.examine()
    rows = [(seen.name, "responding", seen.id, seen.version) for seen in found.services]
    known = {seen.name for seen in found.services}
    for view in found.agents.agents if found.agents else []:
        name = f"agent-{view.profile.agent_id}"
        if name not in known:
            rows.append((name, view.status, f"{view.instances} instances", view.profile.version))
    if output is Format.TEXT:
        for name, text in (("API", found.url), ("NATS", found.nats_url)):
            sys.stdout.write(f"{name:<11} {text or '-'}\n")
        sys.stdout.write("\n" + table(["SERVICE", "STATE", "INSTANCE", "VERSION"], rows) + "\n")
    else:
        services = [{"name": row[0], "pid": 0, "state": row[1], "health_url": "", "restarts": 0} for row in rows]
        print_json({"url": found.url, "nats_url": found.nats_url, "data": "", "services": services})
    unreachable = [
        finding for finding in found.findings if finding.state == PROBLEM and finding.name in ("server", "nats")
    ]
    if unreachable:
        fail(unreachable[0].detail, ExitCode.NOT_REACHABLE, unreachable[0].fix)


def _row(service: ServiceState) -> list[str]:
    port = service.health_url.rpartition(":")[2].partition("/")[0] if service.health_url else "-"
    return [service.name, service.state, str(service.pid or "-"), port, str(service.restarts), service.detail[:80]]


def _service_names(incomplete: str) -> list[str]:
    return [name for name in _known() if name.startswith(incomplete)]


def _known() -> list[str]:
    return [NATS, *(spec.name for spec in SERVICES), MODEL_SERVER, "topology", "stack"]


def logs(
    service: Annotated[
        str, typer.Argument(help="Only this service; default: all.", autocompletion=_service_names)
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow appended lines.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Number of last lines.")] = 50,
) -> None:
    """Show the logs of the services, oldest first."""
    from syntor.cli import log_view

    if service and service not in _known():
        fail(f"no service {service!r}", ExitCode.USAGE, f"there are: {', '.join(_known())}")
    layout = Layout(home_folder(os.environ))
    paths = {name: layout.log_of(name) for name in ([service] if service else _known())}
    log_view.show(paths, lines=lines, follow=follow, named=not service)
