"""Examines a deployment by its addresses, whichever way it was started: the API and NATS."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from syntor.cli.credentials import authorization
from syntor.cli.finding import Finding, note, ok, problem
from syntor.cli.http_get import get
from syntor.cli.log_findings import Consumer, State, Stream, judge_streams
from syntor.contracts import topology
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import ConfigurationError, InfrastructureError, NotFoundError, RejectionError
from syntor.contracts.rpc.v1 import PROJECTOR, REGISTRY, AgentList
from syntor.jetstream.access import public_hosts
from syntor.jetstream.admin import api
from syntor.jetstream.connection import Connection, Message, Server, connect
from syntor.jetstream.readiness import LogReadiness
from syntor.stack.admin_access import admin_access
from syntor.stack.services import AGENT_PREFIX

CORE = ("ingress", "orchestrator", REGISTRY, PROJECTOR)
_TIMEOUT_S = 5.0
_DISCOVERY_S = 0.7  # every service has responded by then, also on another continent
_USERS_FIX = "syntor admin apply --users FOLDER makes keys and users.conf; include it in the server's configuration"


class Seen(msgspec.Struct, frozen=True):
    """An instance of a service that responded."""

    name: str
    id: str = ""
    version: str = ""


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What the addresses of a deployment told."""

    url: str = ""
    nats_url: str = ""
    agents: AgentList | None = None
    services: list[Seen] = []
    findings: list[Finding] = []


def given(environ: Mapping[str, str]) -> bool:
    """Return whether the environment names a deployment, rather than leaving it to the home folder."""
    return bool(environ.get("SYNTOR_URL") or environ.get("SYNTOR_NATS_URL"))


def examine(environ: Mapping[str, str] = os.environ) -> Deployment:
    """Ask the API of `SYNTOR_URL` and the server of `SYNTOR_NATS_URL`, each where it is set."""
    url, nats_url = environ.get("SYNTOR_URL", "").rstrip("/"), environ.get("SYNTOR_NATS_URL", "").strip()
    findings, agents, services = list[Finding](), None, list[Seen]()
    if url:
        finding, agents = _api(url)
        findings.append(finding)
        findings += (
            [_agent(view.profile.agent_id, view.status, view.instances) for view in agents.agents] if agents else []
        )
    if nats_url:
        found, services = asyncio.run(_nats(nats_url, environ))
        findings += found
    else:
        findings.append(
            note("log", "not examined", "set SYNTOR_NATS_URL, and SYNTOR_NATS_KEYS for a server with users")
        )
    return Deployment(url=url, nats_url=nats_url, agents=agents, services=services, findings=findings)


def _api(url: str) -> tuple[Finding, AgentList | None]:
    status, body = get(f"{url}/v1/agents", _TIMEOUT_S, authorization(url))
    if status == 200:
        with contextlib.suppress(*UNDECODABLE):
            return ok("server", f"{url} responds"), msgspec.json.decode(body, type=AgentList)
        return problem("server", f"{url} is not a Syntor server", "is SYNTOR_URL right?"), None
    if status in (401, 403):
        return problem(
            "server", f"{url} does not accept the token ({status})", "set SYNTOR_TOKEN: syntor tokens create"
        ), None
    text = body.decode("utf-8", "replace")[:200]
    return problem("server", f"{url}: {f'{status} ' if status else ''}{text}", "is SYNTOR_URL right?"), None


def _agent(agent_id: str, status: str, instances: int) -> Finding:
    name = f"{AGENT_PREFIX}{agent_id}"
    if instances or status != "offline":
        return ok(name, f"{status}, instances: {instances}")
    return problem(name, "offline: no instance sends heartbeats", f"start it, or: syntor agents show {agent_id}")


async def _nats(url: str, environ: Mapping[str, str]) -> tuple[list[Finding], list[Seen]]:
    try:
        connection = await connect(url, "syntor/doctor", access=admin_access(environ))
    except (ConfigurationError, InfrastructureError) as exc:
        return [problem("nats", str(exc), "are SYNTOR_NATS_URL and SYNTOR_NATS_KEYS right?")], []
    try:
        findings = server_findings(url, connection.server)
        if not connection.server.jetstream:
            return findings, []
        services = await _services(connection)
        return [*findings, *await _log(connection), _running(services)], services
    finally:
        await connection.close()


def server_findings(url: str, server: Server) -> list[Finding]:
    """Return what a server says about itself: reachable, its users, JetStream."""
    findings = [ok("nats", f"{url} responds, version {server.version}")]
    public = public_hosts(url)
    if not server.auth_required:
        text = "requires no credentials"
        if public:
            findings.append(
                problem("nats users", f"{public[0]} {text}: all who reach it read and write the log", _USERS_FIX)
            )
        else:
            findings.append(note("nats users", f"the server {text}; it is on this machine only", _USERS_FIX))
    if public and not server.tls_required:
        findings.append(
            note("nats tls", f"the connection to {public[0]} is not encrypted", "see deploy/nats/cluster.conf")
        )
    if not server.jetstream:
        fix = "add a jetstream block to its configuration, as in deploy/nats/durable.conf"
        findings.append(problem("jetstream", "is off: the server can keep no log", fix))
    return findings


async def _log(connection: Connection) -> list[Finding]:
    """Return the state of the streams, of their consumers, and of what keeps the log from taking a write."""
    streams: dict[str, Stream] = {}
    for spec in topology.STREAMS:
        with contextlib.suppress(NotFoundError, InfrastructureError, RejectionError):
            info = await api(connection, f"STREAM.INFO.{spec.name}")
            consumers = await api(connection, f"CONSUMER.LIST.{spec.name}")
            details = [
                Consumer(each["name"], each["num_pending"], each["num_ack_pending"], each["num_redelivered"])
                for each in consumers["consumers"]
            ]
            streams[spec.name] = Stream(spec.name, msgspec.convert(info["state"], State, strict=False), details)
    reason = await LogReadiness(connection).check()
    blocked = [problem("log", reason, "syntor admin apply")] if reason else []
    return [*blocked, *judge_streams(streams, datetime.now(UTC))]


async def _services(connection: Connection) -> list[Seen]:
    """Return every instance that responds to discovery."""
    found: list[Seen] = []

    def collect(message: Message) -> bool:
        with contextlib.suppress(*UNDECODABLE):
            found.append(msgspec.json.decode(message.payload, type=Seen))
        return False

    with contextlib.suppress(InfrastructureError):  # it ends with the time
        await connection.request_many("$SRV.PING", b"", collect, timeout_s=_DISCOVERY_S)
    return sorted(found, key=lambda seen: (seen.name, seen.id))


def _running(services: list[Seen]) -> Finding:
    counted = Counter(seen.name for seen in services)
    missing = [name for name in CORE if not counted[name]]
    shown = ", ".join(f"{name} {count}" for name, count in counted.items()) or "none"
    if missing:
        return problem("services", f"{', '.join(missing)} not running; running: {shown}", "start what is missing")
    return ok("services", f"running: {shown}")
