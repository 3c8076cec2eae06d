"""`syntor doctor`: checks everything a run needs; reports problems and fixes."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from syntor.cli import deployment
from syntor.cli.breaker_findings import breaker_findings
from syntor.cli.finding import NOTE, PROBLEM, Finding, note, ok, problem
from syntor.cli.http_get import get
from syntor.cli.integrity_finding import (
    integrity_finding,
    read_model_checkpoint,
    sealed_findings,
    server_findings,
)
from syntor.cli.log_findings import log_findings
from syntor.cli.output import ExitCode, Format, print_json
from syntor.cli.project import configuration, trusted_project
from syntor.configuration.keys import BUILT_IN_AGENTS
from syntor.configuration.trust import Trust, find_project, manifest_files, trust_of
from syntor.contracts.errors import ConfigurationError, NotReachableError
from syntor.runtime.disk import no_room
from syntor.runtime.nats_binary import find_nats_server
from syntor.stack.layout import Layout, home_folder
from syntor.stack.running import call_stack, running_stack
from syntor.stack.services import NATS
from syntor.stack.state import READY, ServiceState, StackState

if TYPE_CHECKING:
    from syntor.cli.provider_state import Providers

_TIMEOUT_S = 3.0
_DISK_PROBLEM_BYTES = 500 * 10**6  # below this the log soon refuses new events
_DISK_NOTE_BYTES = 5 * 10**9


def register(app: typer.Typer) -> None:
    """Add `doctor`."""
    app.command()(doctor)


def doctor(
    output: Annotated[Format, typer.Option("--output", "-o", help="text or json.")] = Format.TEXT,
) -> None:
    """Check everything a run needs; report problems and fixes.

    Exit code: 0 no problem, 1 problems, 3 when the configuration is one of them.
    """
    home = home_folder(os.environ)
    findings = [
        _python(),
        *_configuration(home),
        _disk(home),
        *_modes(home),
        *_set_aside(home),
        *_stack(home),
        *_models(home),
    ]
    problems = [finding for finding in findings if finding.state == PROBLEM]
    notes = [finding for finding in findings if finding.state == NOTE]
    if output is Format.TEXT:
        sys.stdout.write("\n".join(finding.line() for finding in findings))
        sys.stdout.write(f"\n{_counted(problems, 'problem')}, {_counted(notes, 'note')}\n")
    else:
        print_json({"findings": findings, "problems": len(problems), "notes": len(notes)})
    if problems:
        wrong_configuration = any(finding.name == "config" for finding in problems)
        raise typer.Exit(ExitCode.CONFIGURATION if wrong_configuration else ExitCode.RUN_FAILED)


def _counted(findings: list[Finding], what: str) -> str:
    return f"{len(findings)} {what}{'' if len(findings) == 1 else 's'}"


def _python() -> Finding:
    return ok("python", f"{platform.python_version()} ({sys.executable})")


def _configuration(home: Path) -> list[Finding]:
    """Check the configuration layers, the trust in the project folder and the custom commands."""
    findings: list[Finding] = []
    project = find_project(Path.cwd(), home)
    try:
        values = configuration(ask=False).values
        layers = sorted({value.layer for value in values.values() if value.layer != "default"})
        findings.append(ok("config", f"valid; set by: {', '.join(layers) or 'defaults'}"))
        if project is not None:
            findings.append(_trust(home, project))
        trusted = trusted_project(home, ask=False)
    except ConfigurationError as exc:
        return [problem("config", str(exc), "syntor config edit")]
    from syntor.cli.interactive.custom import problems

    findings += [problem("commands", text) for text in problems(home, trusted)]
    return [*findings, *_agent_files(home)]


def _agent_files(home: Path) -> list[Finding]:
    """Check the manifests of user-defined agents and the MCP servers; agents skip invalid ones."""
    from syntor.agentkit.domain.mcp_names import CONFIG_FILE
    from syntor.agentkit.manifest import read_manifest
    from syntor.agentkit.tools.catalog import known_tools
    from syntor.agentkit.tools.mcp_config import read_servers

    findings: list[Finding] = []
    files = manifest_files(home)
    for path in files:
        try:
            read_manifest(path, known_tools())
        except ConfigurationError as exc:
            findings.append(problem("agents", str(exc), "correct the file; it is reloaded immediately"))
    if files and not findings:
        findings.append(ok("agents", f"{len(files)} user-defined"))
    servers = read_servers([(home / CONFIG_FILE, Path.home())], os.environ)
    if servers.servers:
        findings.append(ok("mcp", f"configured: {', '.join(servers.servers)}; syntor mcp list shows more"))
    findings += [problem("mcp", line, "correct the file; it is reloaded at the next task") for line in servers.problems]
    return [*findings, *(note("mcp", line) for line in servers.notes)]


def _trust(home: Path, project: Path) -> Finding:
    known = trust_of(home, project)
    if known is Trust.TRUSTED:
        return ok("project", f"{project} is trusted")
    return note(
        "project", f"{project} is not trusted; its .syntor folder is not used", f"syntor config trust {project}"
    )


def _disk(home: Path) -> Finding:
    folder = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    if full := no_room(str(folder)):
        return problem("disk", full, "free some space; everything continues by itself within seconds")
    text = f"{free / 1e9:.1f} GB free for {home}"
    if free < _DISK_PROBLEM_BYTES:
        return problem("disk", text, "the log refuses new events when the disk is full: free some space")
    return note("disk", text, "a local model takes 0.5 to 9 GB") if free < _DISK_NOTE_BYTES else ok("disk", text)


def _modes(home: Path) -> list[Finding]:
    """Check that no other account can read the home folder."""
    if not home.is_dir() or not (found := Layout(home).open_to_others()):
        return []
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    fix = f"syntor down; syntor up --detach; or: chmod -R go-rwx {found[0]}"
    return [problem("home", f"other accounts may read {found[0]}{more}", fix)]


def _set_aside(home: Path) -> list[Finding]:
    """Name damaged files that were replaced and kept."""
    return [
        note("damaged", f"{path} was damaged, set aside and made anew", f"when it is not needed: rm -r {path}")
        for path in Layout(home).set_aside()
    ]


def _stack(home: Path) -> list[Finding]:
    """Check the running stack, or the deployment of SYNTOR_URL and SYNTOR_NATS_URL."""
    state = None if os.environ.get("SYNTOR_URL") else running_stack(home)
    if state is None and deployment.given(os.environ):
        return deployment.examine().findings
    if state is None:
        return [
            _nats_binary(),
            *sealed_findings(Layout(home).nats_store),
            note("stack", f"nothing runs for {home}", "any command starts it, or: syntor up --detach"),
        ]
    try:
        state = msgspec.convert(call_stack(state, "GET", "/status"), StackState)
    except NotReachableError as exc:
        return [problem("stack", str(exc), "syntor down; syntor up --detach")]
    findings = [ok("stack", f"pid {state.pid}, {state.url}, data in {state.data}")]
    if state.phase != READY:
        findings = [note("stack", f"pid {state.pid} is {state.phase}")]
    findings += [note("start", notice) for notice in state.notices]
    findings += [_service(service) for service in state.services]
    findings += breaker_findings(state.services)
    nats = next((service for service in state.services if service.name == NATS), None)
    if nats is None:
        findings += deployment.examine({**os.environ, "SYNTOR_URL": "", "SYNTOR_NATS_URL": state.nats_url}).findings
    elif nats.pid:
        findings.append(_nats_binary())
        read = read_model_checkpoint(home)
        findings += log_findings(nats.health_url.rpartition("/")[0], datetime.now(UTC), read.position)
        findings.append(integrity_finding(state.nats_url, read))
        findings += server_findings(Layout(home).log_of(NATS))
    return findings


def _service(service: ServiceState) -> Finding:
    """Check one service."""
    name = service.name
    restarts = f", restarts: {service.restarts}" if service.restarts else ""
    if not service.pid:
        return problem(name, f"{service.state}: {service.detail}", f"syntor logs {name}")
    status, body = get(f"{service.health_url}{'?verbose' if name != NATS else ''}", _TIMEOUT_S)
    if status == 200:
        return note(name, f"ready{restarts}", f"syntor logs {name}") if service.restarts else ok(name, "ready")
    text = body.decode("utf-8", "replace")
    failing = [line[4:] for line in text.splitlines() if line.startswith("[-]")]
    return problem(name, f"not ready: {'; '.join(failing) or text.strip()[:200]}{restarts}", f"syntor logs {name}")


def _models(home: Path) -> list[Finding]:
    """Check the model of each agent."""
    try:
        found = configuration(ask=False)
    except ConfigurationError:
        return []  # reported already
    from syntor.cli.provider_state import Providers

    providers = Providers(home, found, os.environ)
    users: dict[str, list[str]] = {}
    for agent in BUILT_IN_AGENTS:
        users.setdefault(found.model_for(agent)[0], []).append(agent)
    return [_model(model, agents, providers, found.inference.auto_pull) for model, agents in users.items()]


def _model(model: str, agents: list[str], providers: Providers, auto_pull: bool) -> Finding:
    state = providers.status(model)
    text = f"{model} is {state} ({', '.join(agents)})"
    if state in ("ready", "api"):
        return ok("model", text)
    if state == "not pulled" and auto_pull:
        return note("model", f"{text}; it is fetched at first use", f"now: syntor models pull {model}")
    detail = providers.get(model.partition("/")[0]).detail
    return problem("model", text, f"syntor models pull {model}" if state == "not pulled" else detail)


def _nats_binary() -> Finding:
    try:
        path = find_nats_server()
    except ConfigurationError as exc:
        return problem("nats-server", str(exc))
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    version = shown.stdout.strip().rpartition(" ")[2]
    return ok("nats-server", f"{version} ({path})")
