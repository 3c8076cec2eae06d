"""Session-ordering test: many turns of one session on two orchestrators and two ingresses stay in order.

`python -m syntor.faults.session_ordering [--turns 10000]`; exit code 1 when a turn is interleaved, lost or repeated.
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
from syntor.faults.invariants import turn_violations, version_gaps
from syntor.jetstream.connection import connect
from syntor.jetstream.store import JetStreamStore
from syntor.testing.local_stack import LocalStack
from syntor.testing.nats_server import free_port

SESSION = "one"
CLIENTS = 32
STOP_S = 60.0
START_S = 20.0
WAIT_S = 30  # a client posts its next message after the response to the one before


class Report(msgspec.Struct):
    """Result of the test."""

    turns: int
    seconds: float
    violations: list[str]

    def text(self) -> str:
        """Return the report for people."""
        lines = [f"{self.turns} turns of one session in {self.seconds:.0f} s: {len(self.violations)} violations"]
        return "\n".join(lines + self.violations[:20])


def run(home: Path, count: int) -> Report:
    """Post `count` messages of one session to two ingresses, and check the log once all runs have ended."""
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
            run_ids = asyncio.run(_post([stack.url, f"http://127.0.0.1:{port}"], stack.headers, count))
            events = asyncio.run(_until_ended(stack, run_ids))
        finally:
            for process in second:
                process.terminate()
            codes = [process.wait(STOP_S) for process in second]
        seconds = time.monotonic() - began
        verified = stack.syntor("replay", "--verify", timeout_s=300.0)
    found = [f"a second instance exited with {code}" for code in codes if code]
    if verified.returncode:
        found.append(f"replay --verify: {verified.stdout[-500:]}{verified.stderr[-300:]}")
    return Report(count, seconds, [*found, *check(events, run_ids, count)])


def check(events: list[Recorded], run_ids: list[str], count: int) -> list[str]:
    """Return the violations in a log that should have `count` turns, those of `run_ids`."""
    inputs = Counter(recorded.envelope.runid for recorded in events if isinstance(recorded.event, UserInput))
    ends = Counter(r.envelope.runid for r in events if r.envelope.type in TERMINAL_RUN_TYPES)
    bad = Counter(r.envelope.type for r in events if r.envelope.type in TERMINAL_RUN_TYPES - {"run_done"})
    found = [f"{kind}: {number} runs" for kind, number in bad.items()]
    if len(set(run_ids)) != count:
        found.append(f"{len(set(run_ids))} runs for {count} messages")
    found += [
        f"run {run_id}: {inputs[run_id]} messages" for run_id in set(run_ids) | set(inputs) if inputs[run_id] != 1
    ]
    found += [f"run {run_id}: {ends[run_id]} ends" for run_id in set(run_ids) if ends[run_id] != 1]
    return [*found, *turn_violations(events), *version_gaps(events)]


async def _post(urls: list[str], key: dict[str, str], count: int) -> list[str]:
    """Post all messages, alternating between the ingresses, `CLIENTS` at a time; return the runs' ids."""
    run_ids: list[str] = []
    numbers = iter(range(count))
    async with httpx2.AsyncClient(headers=key, timeout=2.0 * WAIT_S) as http:
        async with asyncio.timeout(START_S):
            while not await _is_ready(http, urls[1]):  # noqa: ASYNC110 - another process, which sends no event
                await asyncio.sleep(0.05)

        async def client() -> None:
            for number in numbers:
                body = {"agent": "worker", "input": f"message {number}", "session_id": SESSION}
                headers = {"Idempotency-Key": f"turn-{number}", "Prefer": f"wait={WAIT_S}"}
                while True:
                    response = await http.post(f"{urls[number % len(urls)]}/v1/runs", json=body, headers=headers)
                    if response.status_code in (200, 202):
                        break
                    if response.status_code != 503:
                        raise RuntimeError(f"message {number}: {response.status_code} {response.text[:300]}")
                run_ids.append(response.json()["run_id"])

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return run_ids


async def _is_ready(http: httpx2.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/v1/agents/worker")).status_code == 200
    except httpx2.TransportError:
        return False


async def _until_ended(stack: LocalStack, run_ids: list[str]) -> list[Recorded]:
    """Return the log once every run has ended and released its turn, or when no event came for `STOP_S`."""
    connection = await connect(stack.nats_url, "syntor/faults", access=stack.admin)
    store, events = JetStreamStore(connection), list[Recorded]()
    open_runs, moved = set(run_ids), time.monotonic()
    try:
        while (open_runs or events[-1].envelope.type != "turn_released") and time.monotonic() < moved + STOP_S:
            async for recorded in store.load(ALL_EVENTS, events[-1].position if events else 0):
                events.append(recorded)
                moved = time.monotonic()
                if recorded.envelope.type in TERMINAL_RUN_TYPES:
                    open_runs.discard(recorded.envelope.runid)
            await asyncio.sleep(0.2)
    finally:
        await connection.close()
    return events


def main(arguments: list[str]) -> int:
    """Run the test and print its report."""
    parser = argparse.ArgumentParser(prog="python -m syntor.faults.session_ordering", description=__doc__)
    parser.add_argument("--turns", type=int, default=10_000, help="number of messages")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="syntor-ordering-", ignore_cleanup_errors=True) as folder:
        report = run(Path(folder), options.turns)
    print(report.text())
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
