"""`syntor status` and `doctor` of a deployment that was started elsewhere and is given by its addresses."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from syntor.contracts.topology import EVENTS
from syntor.jetstream.admin import api
from syntor.jetstream.connection import connect
from syntor.runtime.nats_binary import find_nats_server
from syntor.testing.local_stack import LocalStack
from syntor.testing.nats_server import free_port


@pytest.fixture
def elsewhere(stack: LocalStack, tmp_path: Path) -> LocalStack:
    """A home of another machine's user, that knows the addresses and the key."""
    environ = {
        "SYNTOR_URL": stack.url,
        "SYNTOR_NATS_URL": stack.nats_url,
        "SYNTOR_NATS_KEYS": str(stack.home / "nats-keys"),
    }
    return LocalStack(tmp_path / "home", environ=environ)


def _findings(stack: LocalStack) -> dict[str, dict[str, Any]]:
    done = stack.syntor("doctor", "-o", "json")
    return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_status_shows_the_services_that_respond(stack: LocalStack, elsewhere: LocalStack) -> None:
    shown = elsewhere.syntor("status")
    assert shown.returncode == 0, shown.stderr
    for name in ("ingress", "orchestrator", "registry", "projector", "agent-git", "responding", stack.url):
        assert name in shown.stdout
    services = json.loads(elsewhere.syntor("status", "-o", "json").stdout)["services"]
    assert {"ingress", "agent-worker"} <= {service["name"] for service in services}
    elsewhere.environ["SYNTOR_NATS_URL"] = ""
    assert "agent-git" in elsewhere.syntor("status").stdout
    elsewhere.environ["SYNTOR_URL"] = "http://127.0.0.1:9"
    gone = elsewhere.syntor("status")
    assert gone.returncode == 4
    assert "127.0.0.1:9" in gone.stderr


def test_doctor_examines_log_services_and_agents(stack: LocalStack, elsewhere: LocalStack) -> None:
    async def page() -> None:
        connection = await connect(stack.nats_url, "pager", access=stack.admin)
        config = {"durable_name": "pager", "ack_policy": "explicit", "deliver_policy": "all"}
        await api(
            connection, f"CONSUMER.CREATE.{EVENTS}.pager", {"stream_name": EVENTS, "config": config, "action": ""}
        )
        await connection.close()

    assert stack.syntor("chat", "hello").returncode == 0
    asyncio.run(page())
    found = _findings(elsewhere)
    assert found["server"]["state"] == "ok"
    assert found["lag"]["state"] == "ok"
    assert found["log"]["detail"].partition(" ")[0].isdigit()
    assert "orchestrator 1" in found["services"]["detail"]
    assert found["agent-git"]["state"] == "ok"
    assert not [finding for finding in found.values() if finding["state"] == "problem" and finding["name"] != "model"]
    elsewhere.environ["SYNTOR_NATS_KEYS"] = str(elsewhere.home)
    assert "nats" in _findings(elsewhere)


def test_a_server_without_jetstream_is_said(elsewhere: LocalStack) -> None:
    port = free_port()
    command = [str(find_nats_server()), "-a", "127.0.0.1", "-p", str(port)]
    bare = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        assert bare.stderr is not None
        while b"Server is ready" not in bare.stderr.readline():
            pass
        url = f"nats://127.0.0.1:{port}"
        elsewhere.environ |= {"SYNTOR_URL": "", "SYNTOR_NATS_URL": url, "SYNTOR_NATS_KEYS": ""}
        found = _findings(elsewhere)
        assert found["jetstream"]["state"] == "problem"
        assert found["nats users"]["state"] == "note"
        applied = elsewhere.syntor("admin", "apply")
        assert applied.returncode == 4
        assert "JetStream does not respond" in applied.stderr
    finally:
        bare.terminate()
        bare.communicate()
