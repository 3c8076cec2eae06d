"""Every value at and beyond its bounds, wherever it enters a running stack: an answer, no restart, other runs done."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from syntor.contracts.topology import EVENTS
from syntor.jetstream.admin import stream_state
from syntor.jetstream.connection import Connection, connect
from syntor.jetstream.store import JetStreamStore
from syntor.testing.events import user_input
from syntor.testing.local_stack import LocalStack
from syntor.testing.odd_values import NUMBERS, OTHERS, TEXTS, TIMES, large_message, odd_messages, odd_values

GOLDEN = (Path(__file__).parents[1] / "unit" / "contracts" / "golden_messages.jsonl").read_text().splitlines()
EVERY = int(os.environ.get("SYNTOR_ODD_EVERY", "") or 23)  # 1: all of them, which takes minutes
BODY: dict[str, Any] = {
    "agent": "worker", "input": "hello", "session_id": "odd", "model": "scripted/scripted", "metadata": {"a": "b"},
    "budget": {"max_tokens": 1, "max_cost_microusd": 1, "max_calls": 1, "max_wall_time_s": 1.0}, "timeout_s": 5.0,
    "workspace": "/tmp", "permission_mode": "ask", "attachments": [{"name": "a", "content": "b"}],
}  # fmt: skip
PARAMETERS = ("limit", "cursor", "before", "after", "at", "min_position", "session_id", "status", "agent", "group_by",
              "run_id", "capability", "wait", "follow")  # fmt: skip
PATHS = ("/v1/runs", "/v1/runs/odd", "/v1/runs/odd/events", "/v1/events", "/v1/sessions", "/v1/sessions/odd/messages",
         "/v1/approvals", "/v1/usage", "/v1/agents", "/v1/dead_letters", "/v1/dead_letters/1")  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    local = LocalStack(tmp_path_factory.mktemp("home"))
    local.up("--durability", "fast")
    yield local
    local.down()


def _with_admin(stack: LocalStack, work: Callable[[Connection], Any]) -> Any:
    async def run() -> Any:
        connection = await connect(stack.nats_url, "syntor/odd", access=stack.admin)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def _all_well(stack: LocalStack, wait_for: Callable[..., Any]) -> None:
    """Check that no process stopped, and that a new run is done and shown."""
    with httpx2.Client(base_url=stack.url, timeout=30) as http:
        run_id = http.post("/v1/runs", json={"agent": "worker", "input": "hello"}).json()["run_id"]
        wait_for(lambda: http.get(f"/v1/runs/{run_id}").json().get("status") == "done", 60)
    restarts = {row["name"]: row["restarts"] for row in stack.status()["services"]}
    assert set(restarts.values()) == {0}, restarts


def test_in_every_field_of_every_event(home: LocalStack, wait_for: Callable[..., Any]) -> None:
    async def publish(connection: Connection) -> int:
        store = JetStreamStore(connection)
        messages = [message for message in odd_messages(GOLDEN) if not message.subject.startswith("syntor.timers.")]
        for number, message in enumerate([*messages[::EVERY], large_message(GOLDEN)]):
            if number % 2 and not message.subject.endswith(".user_input"):
                await store.append(user_input(message.run_id), 0)
            await connection.request(message.subject, message.payload, timeout_s=10)
        return (await stream_state(connection, EVENTS)).last

    last: int = _with_admin(home, publish)
    _all_well(home, wait_for)
    with httpx2.Client(base_url=home.url, timeout=30) as http:
        wait_for(lambda: http.get("/v1/runs", params={"limit": 1}).json()["position"] >= last, 60)
        for run in http.get("/v1/runs", params={"limit": 500}).json()["runs"]:
            assert run["status"] != "failed" or run["error_message"], run["run_id"]


def test_in_every_field_of_a_request(home: LocalStack, wait_for: Callable[..., Any]) -> None:
    with httpx2.Client(base_url=home.url, timeout=30) as http:
        for name, value in BODY.items():
            for odd in odd_values(value):
                body = json.dumps({**BODY, name: "RAW"}).replace('"RAW"', odd)
                response = http.post("/v1/runs", content=body.encode(), headers={"Content-Type": "application/json"})
                assert response.status_code < 500, (name, odd[:80], response.text)
                if response.status_code >= 400:
                    assert response.json()["code"], (name, odd[:80])
        for name in BODY["budget"]:
            for odd in (*NUMBERS, "1e12"):
                body = json.dumps({**BODY, "budget": {name: "RAW"}}).replace('"RAW"', odd)
                response = http.post("/v1/runs", content=body.encode(), headers={"Content-Type": "application/json"})
                assert response.status_code < 500, (name, odd, response.text)
    _all_well(home, wait_for)


def test_in_every_parameter_of_a_query(home: LocalStack, wait_for: Callable[..., Any]) -> None:
    odd = ["-1", "9223372036854775808", "1" + "0" * 400, "NaN", "1e308", "", "a\0b", "x" * 5000, "\u0661"]
    with httpx2.Client(base_url=home.url, timeout=30) as http:
        for path in PATHS:
            for name in PARAMETERS:
                for value in odd:
                    response = http.get(f"{path}?{name}={quote(value)}", headers={"Accept": "application/json"})
                    assert response.status_code < 500, (path, name, value[:80], response.text)
    _all_well(home, wait_for)


def test_in_every_field_of_every_endpoint(home: LocalStack, wait_for: Callable[..., Any]) -> None:
    fields = ("session_id", "run_id", "agent_id", "status", "limit", "before", "min_position", "group_by", "profile",
              "instance", "correlation_id")  # fmt: skip

    async def ask(connection: Connection) -> int:
        answers = 0
        inbox, infos = connection.new_inbox(), list[dict[str, Any]]()
        listening = await connection.subscribe_direct(inbox, lambda message: infos.append(json.loads(message.payload)))
        await connection.publish("$SRV.INFO", b"", inbox)
        async with asyncio.timeout(30):
            while len({info["name"] for info in infos}) < 9:  # noqa: ASYNC110 - the services answer when they do
                await asyncio.sleep(0.01)
        await listening.unsubscribe()
        for subject in sorted({endpoint["subject"] for info in infos for endpoint in info["endpoints"]}):
            for name in fields:
                for odd in (*NUMBERS, *TEXTS, *TIMES, *OTHERS):
                    if name == "min_position" and odd == "9223372036854775807":  # waited for, in vain
                        continue
                    good = {"session_id": "s", "run_id": "r", "agent_id": "odd"}
                    payload = json.dumps({**good, name: "RAW"}).replace('"RAW"', odd).encode()
                    reply = await connection.request(subject, payload, timeout_s=10)
                    code = int((reply.headers or {}).get("Nats-Service-Error-Code", "200"))
                    assert code in (200, 400, 404, 409, 422), (subject, payload[:200], reply.headers)
                    answers += 1
        return answers

    assert _with_admin(home, ask) > 1000
    _all_well(home, wait_for)
