"""What a NATS server says about itself, and what of it a person must know."""

from __future__ import annotations

import pytest

from syntor.cli.deployment import server_findings
from syntor.jetstream.connection import Server

GOOD = {"version": "2.15.1", "jetstream": True, "auth_required": True, "tls_required": True}


def _states(url: str, **changes: bool) -> dict[str, str]:
    server = Server(**{**GOOD, **changes})  # type: ignore[arg-type]
    return {finding.name: finding.state for finding in server_findings(url, server)}


def test_a_server_with_all_it_needs_has_no_problem() -> None:
    assert _states("nats://nats.example:4222") == {"nats": "ok"}


@pytest.mark.parametrize("url", ["nats://nats.example:4222", "nats://127.0.0.1:1,nats://10.0.0.7:4222"])
def test_a_public_server_without_users_is_a_problem(url: str) -> None:
    assert _states(url, auth_required=False)["nats users"] == "problem"


@pytest.mark.parametrize("url", ["nats://localhost:4222", "nats://127.0.0.1:4222", "nats://[::1]:4222"])
def test_on_this_machine_only_it_is_a_note(url: str) -> None:
    assert _states(url, auth_required=False, tls_required=False) == {"nats": "ok", "nats users": "note"}


def test_a_public_server_without_encryption_is_a_note() -> None:
    assert _states("nats://nats.example", tls_required=False)["nats tls"] == "note"


def test_a_server_without_jetstream_is_a_problem_with_a_fix() -> None:
    found = {finding.name: finding for finding in server_findings("nats://h", Server(jetstream=False))}
    assert found["jetstream"].state == "problem"
    assert "deploy/nats/durable.conf" in found["jetstream"].fix
