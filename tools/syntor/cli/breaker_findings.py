"""What doctor reports of circuit breakers: endpoints of models and external agents that agents do not call now."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from syntor.cli.finding import Finding, note, problem
from syntor.cli.http_get import get
from syntor.contracts.decoding import UNDECODABLE
from syntor.stack.state import ServiceState

_TIMEOUT_S = 3.0


class _Breaker(msgspec.Struct):
    provider: str
    endpoint: str
    state: str
    retry_in_s: float | None
    """None: until it is reset."""
    reason: str


def breaker_findings(services: Iterable[ServiceState]) -> list[Finding]:
    """Return one finding for each breaker of an agent's process that is not closed."""
    found: list[Finding] = []
    for service in services:
        if not service.pid or not service.name.startswith("agent-"):
            continue
        status, body = get(f"{service.health_url.rpartition('/')[0]}/breakers", _TIMEOUT_S)
        if status != 200:
            continue  # not ready, which is a finding of its own
        try:
            breakers = msgspec.json.decode(body, type=list[_Breaker])
        except UNDECODABLE:
            continue
        found += [_finding(service.name, breaker) for breaker in breakers if breaker.state != "closed"]
    return found


def _finding(service: str, breaker: _Breaker) -> Finding:
    where = f"{service} and {breaker.provider} at {breaker.endpoint}"
    if breaker.state == "half_open":
        return note("breaker", f"{where}: it failed and is being tried again; the last failure: {breaker.reason}")
    until = f"for {breaker.retry_in_s:.0f} s more" if breaker.retry_in_s is not None else "until it is reset"
    return problem(
        "breaker", f"{where}: not called {until}; the last failure: {breaker.reason}", f"syntor logs {service}"
    )
