"""Every stream and every endpoint on NATS is fed nonsense: it is dead-lettered or refused, and no service stops.

`SYNTOR_FUZZ_EXAMPLES` messages of each kind are made from each golden message and for each endpoint, from a seed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from syntor.contracts import subjects
from syntor.contracts.events import CATALOGUE
from syntor.contracts.topology import BLOBS
from syntor.jetstream.connection import Connection, connect
from syntor.projector.domain.read_model import ReadModel
from syntor.testing.local_stack import LocalStack

Json = dict[str, Any]
EXAMPLES = int(os.environ.get("SYNTOR_FUZZ_EXAMPLES", "") or 2)
SEED = 20261121
GOLDEN = Path(__file__).parents[1] / "unit" / "contracts" / "golden_messages.jsonl"
OVERSIZED = 6 * 1024 * 1024  # bytes; below what the server takes, far above what is put into one message
UNREADABLE = ("random", "truncated", "future")
KINDS = (*UNREADABLE, "flipped", "types", "oversized", "empty")


def _spoiled(golden: str, kind: str, chance: random.Random) -> bytes:
    """Return what becomes of a good message."""
    message: Json = json.loads(golden)
    if kind == "random":
        return chance.randbytes(chance.randrange(1, 400))
    if kind == "truncated":
        return golden.encode()[: chance.randrange(1, len(golden) - 1)]
    if kind == "future":
        message["dataschema"] = message["dataschema"].rpartition(".")[0] + ".v99"
    elif kind == "flipped":
        spoiled = bytearray(golden.encode())
        spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
        return bytes(spoiled)
    elif kind == "types":
        message["data"] = {name: chance.choice([None, [], {}, -1, "x", True]) for name in message["data"]}
    elif kind == "oversized":
        message["data"]["more"] = "x" * OVERSIZED
    else:
        return b""
    return json.dumps(message).encode()


def _subject(golden: str, chance: random.Random) -> str:
    message: Json = json.loads(golden)
    category, _, id_ = message["subject"].partition(".")
    id_ = id_.replace("r1", f"fuzz{chance.randrange(5)}")
    if category in subjects.TASK_CATEGORIES and "." not in id_:
        id_ = subjects.task_id(id_, "t1")
    type_ = message["type"]
    row = CATALOGUE.newest(category, type_)
    return subjects.event(category, id_, type_, "k1" if row is not None and row.key else "")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    local = LocalStack(tmp_path_factory.mktemp("home"))
    local.up("--durability", "fast")
    yield local
    local.down()


def _with_admin(stack: LocalStack, work: Callable[[Connection], Any]) -> Any:
    async def run() -> Any:
        connection = await connect(stack.nats_url, "syntor/fuzz", access=stack.admin)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def _all_well(stack: LocalStack, wait_for: Callable[..., Any]) -> None:
    """Check that no process stopped, and that a new run is done as ever."""
    with httpx2.Client(base_url=stack.url, timeout=30) as http:
        run_id = http.post("/v1/runs", json={"agent": "worker", "input": "hello"}).json()["run_id"]
        wait_for(lambda: http.get(f"/v1/runs/{run_id}").json().get("status") == "done", 60)
    restarts = {row["name"]: row["restarts"] for row in stack.status()["services"]}
    assert set(restarts.values()) == {0}, restarts


def _dead_lettered(stack: LocalStack, consumer: str) -> set[int]:
    found: set[int] = set()
    query: dict[str, Any] = {"limit": 500}
    with httpx2.Client(base_url=stack.url, timeout=30) as http:
        while True:
            page = http.get("/v1/dead_letters", params=query).json()
            found |= {each["position"] for each in page["letters"] if each["consumer"] == consumer}
            if page["cursor"] is None:
                return found
            query["cursor"] = page["cursor"]


def test_nonsense_in_the_log_is_dead_lettered_and_stops_nothing(home: LocalStack, wait_for: Callable[..., Any]) -> None:
    chance = random.Random(SEED)
    unreadable: set[int] = set()

    async def publish(connection: Connection) -> None:
        for golden in GOLDEN.read_text().splitlines():
            if json.loads(golden)["subject"].startswith("timer."):  # of another stream, tested below
                continue
            for kind in KINDS:
                for _ in range(EXAMPLES if kind != "oversized" else 1):
                    subject = _subject(golden, chance)
                    reply = await connection.request(subject, _spoiled(golden, kind, chance), timeout_s=10)
                    if kind in UNREADABLE and ReadModel().handles(subject):
                        unreadable.add(json.loads(reply.payload)["seq"])

    _with_admin(home, publish)
    _all_well(home, wait_for)
    assert len(unreadable) > 30 * EXAMPLES
    wait_for(lambda: unreadable <= _dead_lettered(home, "projector"), 60)


def test_nonsense_in_the_other_streams_stops_nothing(home: LocalStack, wait_for: Callable[..., Any]) -> None:
    chance = random.Random(SEED)
    due: set[int] = set()
    places = (
        subjects.timer_fired("fuzz1", "deadline"),
        subjects.timer_schedule("fuzz1", "deadline"),
        "syntor.timers.other.x",
        subjects.presence("worker", "fuzz"),
        "syntor.presence.other",
        subjects.dead_letter("SYNTOR_EVENTS", "agents-worker"),
        f"$O.{BLOBS}.M.x",
        f"$O.{BLOBS}.C.x",
    )

    async def publish(connection: Connection) -> None:
        for place in places:
            for size in (0, 1, 50, 3000, OVERSIZED):
                for _ in range(EXAMPLES if size < OVERSIZED else 1):
                    reply = await connection.request(place, chance.randbytes(size), timeout_s=10)
                    if place == places[0]:
                        due.add(json.loads(reply.payload)["seq"])

    _with_admin(home, publish)
    _all_well(home, wait_for)
    wait_for(lambda: due <= _dead_lettered(home, "orchestrator-timers"), 60)
    assert httpx2.get(f"{home.url}/v1/dead_letters", timeout=30).status_code == 200


def _requests(chance: random.Random) -> Iterator[bytes]:
    good = b'{"agent_id":"worker","run_id":"x","session_id":"y","limit":5}'
    wrong: list[Any] = [None, [], 7, "text", {"agent_id": 7}, {"limit": -1}, {"profile": {"agent_id": "../x"}}]
    for _ in range(EXAMPLES):
        yield chance.randbytes(chance.randrange(1, 300))
        yield good[: chance.randrange(1, len(good) - 1)]
        yield json.dumps(chance.choice(wrong)).encode()
        yield json.dumps({"unknown": chance.random(), "version": 99}).encode()
    yield b'{"agent_id":"' + b"x" * OVERSIZED + b'"}'
    yield b"[" * 100_000


def test_every_endpoint_answers_nonsense(home: LocalStack, wait_for: Callable[..., Any]) -> None:
    chance = random.Random(SEED)
    answers: dict[str, int] = {}

    async def ask(connection: Connection) -> None:
        inbox, infos = connection.new_inbox(), list[Json]()
        listening = await connection.subscribe_direct(inbox, lambda message: infos.append(json.loads(message.payload)))
        await connection.publish("$SRV.INFO", b"", inbox)
        async with asyncio.timeout(30):
            while len({info["name"] for info in infos}) < 9:  # noqa: ASYNC110 - the services answer when they do
                await asyncio.sleep(0.01)
        await listening.unsubscribe()
        for subject in sorted({endpoint["subject"] for info in infos for endpoint in info["endpoints"]}):
            for payload in _requests(chance):
                reply = await connection.request(subject, payload, timeout_s=10)
                json.loads(reply.payload)
                code = int((reply.headers or {}).get("Nats-Service-Error-Code", "200"))
                assert code in (200, 400, 404, 409, 422), (subject, payload[:100], reply.headers)
                answers[subject] = answers.get(subject, 0) + 1

    _with_admin(home, ask)
    assert len(answers) >= 20, answers
    _all_well(home, wait_for)
