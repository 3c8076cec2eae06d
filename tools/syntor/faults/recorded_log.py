"""Records the log of a version, with runs in flight, so that later versions can prove that they read and continue it.

`python -m syntor.faults.recorded_log record FOLDER` writes `<version>.tar.gz`, a backup of a stack that was killed, and
`<version>.json`, what is expected of it. The clock of the recording is a century ahead: deadlines follow from the times
of events, and those of the runs in flight must not have passed when a later version continues them. `digest FOLDER
VERSION` writes the digest of the read model anew, after a change of the read model that is meant.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import hashlib
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec

from syntor.contracts.subjects import ALL_EVENTS
from syntor.jetstream.connection import connect
from syntor.jetstream.store import JetStreamStore
from syntor.projections.projection import Row, RowKey
from syntor.replay.read_models import fold
from syntor.replay.source import open_log
from syntor.stack.layout import Layout
from syntor.stack.state import read_state
from syntor.testing.local_stack import LocalStack

SCRIPT = """
rules:
  - match: count
    text: one two three four five six seven eight
    chunk_words: 1
    chunk_delay_s: 0.5
  - match: call
    tool_calls: [{name: http_request, arguments: {method: POST, url: "http://127.0.0.1:9/", body: "x"}}]
  - match: plan
    tool_calls:
      - name: plan
        arguments:
          summary: two steps
          steps:
            - {id: a, agent: worker, action: step a, depends_on: []}
            - {id: b, agent: worker, action: step b, depends_on: [a]}
  - match: fail
    error: {code: model_unavailable, message: the scripted model is unavailable}
  - tool_result: .
    text: It was refused.
  - text: The scripted answer.
"""
AHEAD_S = 100 * 365 * 86400.0
"""How far the clock of the recording is ahead; the server keeps schedules up to the year 2262."""
_CLOCK = f"""
import time
from types import SimpleNamespace
from syntor.contracts import clock
clock.time = SimpleNamespace(time=lambda: time.time() + {AHEAD_S})
"""
_DEADLINE_S = 60.0
_POLL_S = 0.05
T = TypeVar("T")


class Expected(msgspec.Struct, kw_only=True):
    """What later versions must find in a recorded log."""

    version: str
    position: int
    """Position of its last event."""
    events: dict[str, int]
    """Number of events by category."""
    digest: str
    """SHA-256 of the rows of the read model at that position."""
    in_flight: str
    """Run whose model call was interrupted by the end of every process."""
    waiting: str
    """Run that waits for an approval."""
    ended: dict[str, str]
    """Runs that ended, with their status."""


def record(folder: Path) -> Expected:
    """Record the log of this version.

    Raises:
        RuntimeError: the stack did not start, or a run did not get as far as it should.
    """
    name = version("syntor")
    target = folder / f"{name}.tar.gz"
    target.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="syntor-record-") as home:
        (Path(home) / "sitecustomize.py").write_text(_CLOCK)  # every Python process imports it as it starts
        stack = LocalStack(Path(home) / "stack", script=SCRIPT, environ={"PYTHONPATH": home})
        stack.up("--durability", "durable")
        try:
            with httpx2.Client(base_url=stack.url, headers=stack.headers, timeout=30) as api:
                ended, waiting, in_flight = _fill(api)
            left = _kill_services(stack)
            try:
                position, events = asyncio.run(_count(stack))
                digest = asyncio.run(read_model_digest(stack, position))
            finally:
                for pid in left:
                    _kill(pid)
            saved = stack.syntor("backup", "create", str(target))
            if saved.returncode:
                raise RuntimeError(f"syntor backup create ended with {saved.returncode}: {saved.stderr}")
        finally:
            stack.down()
    expected = Expected(
        version=name,
        position=position,
        events=events,
        digest=digest,
        in_flight=in_flight,
        waiting=waiting,
        ended=ended,
    )
    write_expected(folder, expected)
    return expected


def read_expected(folder: Path, name: str) -> Expected:
    """Read what is expected of a recorded log."""
    return msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=Expected)


def write_expected(folder: Path, expected: Expected) -> None:
    """Write what is expected of a recorded log."""
    text = msgspec.json.format(msgspec.json.encode(expected), indent=1)
    (folder / f"{expected.version}.json").write_bytes(text + b"\n")


@contextlib.contextmanager
def restored(folder: Path, name: str, home: Path) -> Generator[LocalStack]:
    """Restore a recorded log and start a stack on it.

    Raises:
        RuntimeError: it cannot be restored.
    """
    stack = LocalStack(home, script=SCRIPT)
    done = stack.syntor("backup", "restore", str(folder / f"{name}.tar.gz"))
    if done.returncode:
        raise RuntimeError(f"syntor backup restore ended with {done.returncode}: {done.stderr}")
    with stack:
        yield stack


async def read_model_digest(stack: LocalStack, position: int) -> str:
    """Return the digest of the read model, folded from the log up to a position.

    Raises:
        RuntimeError: an event could not be applied.
    """
    async with open_log(stack.nats_url, stack.admin) as source:
        rows, failed = await fold(source, position)
    if failed:
        raise RuntimeError(f"{len(failed)} events could not be applied, the first: {failed[0]}")
    return digest_of(rows)


def digest_of(rows: dict[RowKey, Row]) -> str:
    """Return the digest of rows, whatever their order."""
    ordered = sorted((f"{table} {key}", row) for (table, key), row in rows.items())
    return hashlib.sha256(msgspec.json.encode(ordered, order="sorted")).hexdigest()


def _kill_services(stack: LocalStack) -> tuple[int, int]:
    """Send SIGKILL to every service but nats-server; return the process ids of that and of the stopped supervisor."""
    state = read_state(Layout(stack.home).state)
    if state is None:
        raise RuntimeError("the stack does not run")
    os.kill(state.pid, signal.SIGSTOP)  # it restarts nothing; nats-server would die with it
    pids = {row.name: row.pid for row in state.services if row.pid}
    nats = pids.pop("nats")
    for pid in pids.values():
        _kill(pid)
    return nats, state.pid


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _fill(api: httpx2.Client) -> tuple[dict[str, str], str, str]:
    """Start runs of every kind; return those that ended, one that waits for an approval, and one in mid answer."""
    runs = [
        _start(api, "hello", session_id="first"),
        _start(api, "and again", session_id="first"),
        _start(api, "fail", agent="git"),
        _start(api, "plan this", agent="coordination"),
        _start(api, "with a budget", budget={"max_tokens": 1000}),
    ]
    cancelled = _start(api, "count, to be cancelled")
    _until(lambda: _types(api, cancelled)["agent_stream_delta"])
    api.post(f"/v1/runs/{cancelled}/cancel", json={}).raise_for_status()
    ended = {run_id: _until(functools.partial(_ended, api, run_id)) for run_id in (*runs, cancelled)}
    waiting = _start(api, "call it", workspace=tempfile.gettempdir())
    _until(lambda: _status(api, waiting) == "paused_waiting_approval")
    in_flight = _start(api, "count")
    _until(lambda: _types(api, in_flight)["agent_stream_delta"] > 1)
    return ended, waiting, in_flight


def _start(api: httpx2.Client, text: str, agent: str = "worker", **more: Any) -> str:
    response = api.post("/v1/runs", json={"agent": agent, "input": text, **more})
    if response.status_code != 202:
        raise RuntimeError(f"POST /v1/runs for {text!r}: {response.status_code} {response.text}")
    run_id: str = response.json()["run_id"]
    return run_id


def _status(api: httpx2.Client, run_id: str) -> str:
    status: str = api.get(f"/v1/runs/{run_id}").json()["status"]
    return status


def _ended(api: httpx2.Client, run_id: str) -> str:
    status = _status(api, run_id)
    return status if status in ("done", "failed", "cancelled") else ""


def _types(api: httpx2.Client, run_id: str) -> Counter[str]:
    events = api.get(f"/v1/runs/{run_id}/events", params={"limit": 1000}).json()["events"]
    return Counter(event["type"] for event in events)


def _until(found: Callable[[], T]) -> T:
    deadline = time.monotonic() + _DEADLINE_S
    while not (value := found()):
        if time.monotonic() > deadline:
            raise RuntimeError("a run did not get as far as it should")
        time.sleep(_POLL_S)
    return value


async def _count(stack: LocalStack) -> tuple[int, dict[str, int]]:
    """Return the position of the log's last event, and the number of events by category."""
    connection = await connect(stack.nats_url, "syntor/record", access=stack.admin)
    try:
        events = [recorded async for recorded in JetStreamStore(connection).load(ALL_EVENTS)]
    finally:
        await connection.close()
    return events[-1].position, dict(Counter(each.envelope.subject.partition(".")[0] for each in events))


def main(arguments: list[str]) -> int:
    """Record a log, or pin the digest of one anew."""
    parser = argparse.ArgumentParser(prog="python -m syntor.faults.recorded_log", description=__doc__)
    parser.add_argument("action", choices=("record", "digest"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("version", nargs="?", default=version("syntor"))
    options = parser.parse_args(arguments)
    if options.action == "record":
        expected = record(options.folder)
    else:
        expected = read_expected(options.folder, options.version)
        with (
            tempfile.TemporaryDirectory(prefix="syntor-record-") as home,
            restored(options.folder, options.version, Path(home) / "stack") as stack,
        ):
            expected.digest = asyncio.run(read_model_digest(stack, expected.position))
        write_expected(options.folder, expected)
    print(f"{expected.version}: {sum(expected.events.values())} events, read model {expected.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
