"""Many turns of one session on two orchestrators and two ingresses: none interleaved, lost or done twice.

`python -m syntor.faults.turns [--turns 10000]`; ends with 1 when something does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx2
import msgspec

from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.subjects import ALL_EVENTS
from syntor.eventsourcing.store import Recorded
from syntor.faults.invariants import dense, turns
from syntor.jetstream.connection import connect
from syntor.jetstream.store import JetStreamStore
from syntor.testing.local_stack import LocalStack
from syntor.testing.nats_server import free_port

SESSION = "one"
CLIENTS = 32
STOP_S = 60.0
START_S = 20.0
WAIT_S = 30  # a client posts its next message when the one before was answered


class Report(msgspec.Struct):
    """What came of it."""

    turns: int
    seconds: float
    faults: list[str]

    def text(self) -> str:
        """Return the report for people."""
        lines = [f"{self.turns} turns of one session in {self.seconds:.0f} s: {len(self.faults)} faults"]
        return "\n".join(lines + self.faults[:20])


def run(home: Path, count: int) -> Report:
    """Post `count` messages of one session to two ingresses, and look at the log once all have ended."""
    port = free_port()
    with LocalStack(home, environ={"SYNTOR_HTTP_PORT": str(free_port()), "SYNTOR_MAX_OPEN_RUNS": "0"}) as stack:
        environ = stack.environ | {
            "SYNTOR_NATS_URL": stack.nats_url,
            "SYNTOR_NATS_KEYS": str(stack.home / "nats-keys"),
            "SYNTOR_HTTP_PORT": str(port),
            "SYNTOR_DURABILITY": "durable",
        }
        second = [
            subprocess.Popen([sys.executable, "-P", "-m", f"syntor.{name}"], env=environ, stderr=subprocess.DEVNULL)
            for name in ("orchestrator", "ingress")
        ]
        began = time.monotonic()
        try:
            run_ids = asyncio.run(_post([stack.url, f"http://127.0.0.1:{port}"], count))
            events = asyncio.run(_until_ended(stack, run_ids))
        finally:
            for process in second:
                process.terminate()
            codes = [process.wait(STOP_S) for process in second]
        seconds = time.monotonic() - began
        verified = stack.syntor("replay", "--verify", timeout_s=300.0)
    faults = [f"a second service ended with {code}" for code in codes if code]
    if verified.returncode:
        faults.append(f"replay --verify: {verified.stdout[-500:]}{verified.stderr[-300:]}")
    return Report(count, seconds, [*faults, *check(events, run_ids, count)])


def check(events: list[Recorded], run_ids: list[str], count: int) -> list[str]:
    """Return what does not hold of a log that should have `count` turns, those of `run_ids`."""
    inputs = Counter(recorded.envelope.runid for recorded in events if isinstance(recorded.event, UserInput))
    ends = Counter(r.envelope.runid for r in events if r.envelope.type in TERMINAL_RUN_TYPES)
    bad = Counter(r.envelope.type for r in events if r.envelope.type in TERMINAL_RUN_TYPES - {"run_done"})
    faults = [f"{kind}: {number} runs" for kind, number in bad.items()]
    if len(set(run_ids)) != count:
        faults.append(f"{len(set(run_ids))} runs for {count} messages")
    faults += [
        f"run {run_id}: {inputs[run_id]} messages" for run_id in set(run_ids) | set(inputs) if inputs[run_id] != 1
    ]
    faults += [f"run {run_id}: {ends[run_id]} ends" for run_id in set(run_ids) if ends[run_id] != 1]
    return [*faults, *turns(events), *dense(events)]


async def _post(urls: list[str], count: int) -> list[str]:
    """Post all messages, alternating between the ingresses, `CLIENTS` at a time; return the runs' ids."""
    run_ids: list[str] = []
    numbers = iter(range(count))
    async with httpx2.AsyncClient(timeout=2.0 * WAIT_S) as http:
        async with asyncio.timeout(START_S):
            while not await _listens(http, urls[1]):  # noqa: ASYNC110 - another process: nobody tells
                await asyncio.sleep(0.05)

        async def client() -> None:
            for number in numbers:
                body = {"agent": "worker", "input": f"message {number}", "session_id": SESSION}
                headers = {"Idempotency-Key": f"turn-{number}", "Prefer": f"wait={WAIT_S}"}
                while True:
                    answer = await http.post(f"{urls[number % len(urls)]}/v1/runs", json=body, headers=headers)
                    if answer.status_code in (200, 202):
                        break
                    if answer.status_code != 503:
                        raise RuntimeError(f"message {number}: {answer.status_code} {answer.text[:300]}")
                run_ids.append(answer.json()["run_id"])

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return run_ids


async def _listens(http: httpx2.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/v1/agents/worker")).status_code == 200
    except httpx2.TransportError:
        return False


async def _until_ended(stack: LocalStack, run_ids: list[str]) -> list[Recorded]:
    """Read the log until every run has ended and its turn is given back; give up when nothing moves any more."""
    connection = await connect(stack.nats_url, "syntor/faults", access=stack.admin)
    store, events = JetStreamStore(connection), list[Recorded]()
    left, moved = set(run_ids), time.monotonic()
    try:
        while (left or events[-1].envelope.type != "turn_released") and time.monotonic() < moved + STOP_S:
            async for recorded in store.load(ALL_EVENTS, events[-1].position if events else 0):
                events.append(recorded)
                moved = time.monotonic()
                if recorded.envelope.type in TERMINAL_RUN_TYPES:
                    left.discard(recorded.envelope.runid)
            await asyncio.sleep(0.2)
    finally:
        await connection.close()
    return events


def main(arguments: list[str]) -> int:
    """Run and print the report."""
    parser = argparse.ArgumentParser(prog="python -m syntor.faults.turns", description=__doc__)
    parser.add_argument("--turns", type=int, default=10_000, help="how many messages")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="syntor-turns-", ignore_cleanup_errors=True) as folder:
        report = run(Path(folder), options.turns)
    print(report.text())
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
