"""Restores an older backup under running clients: what the log has lost is refused, and everything else continues.

`python -m syntor.faults.restored_backup [--seconds 10]`; exit code 1 on a violation. Clients start runs and follow
streams all the time, while a backup is made, and while it replaces the log some seconds later.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import yaml

from syntor.contracts.errors import InfrastructureError
from syntor.contracts.subjects import ALL_EVENTS
from syntor.eventsourcing.store import Recorded
from syntor.faults.effects import Effects
from syntor.faults.ending import end_by_signal
from syntor.faults.event_counter import EventCounter
from syntor.faults.invariants import turn_violations, version_gaps, without_end
from syntor.faults.streams import Streams
from syntor.faults.workload import Accepted, Workload, script
from syntor.jetstream.connection import connect
from syntor.jetstream.store import JetStreamStore
from syntor.stack.layout import Layout
from syntor.testing.local_stack import LocalStack
from syntor.testing.nats_server import free_port

SEED = 1
MAX_RUNS = 1000
END_S = 60.0
COMMAND_S = 120.0


class Report(msgspec.Struct, kw_only=True):
    """Result of a restore under load."""

    runs: int = 0
    """Runs accepted."""
    lost: int = 0
    """Of them those accepted after the backup and before its restore."""
    after: int = 0
    """Of them those accepted after the restore."""
    streams: int = 0
    violations: list[str] = []

    def text(self) -> str:
        """Return the report for people."""
        lines = [
            f"{self.runs} runs accepted: {self.lost} after the backup, which the restore lost, and {self.after} after "
            f"the restore; {self.streams} streams followed; {len(self.violations)} violations"
        ]
        return "\n".join([*lines, *self.violations[:20]])


def run(home: Path, seconds: float) -> Report:
    """Make a backup under load, and restore it under load.

    Args:
        home: an empty folder.
        seconds: time of undisturbed load before the backup, between backup and restore, and after it.

    Raises:
        RuntimeError: a command of the stack failed.
    """
    effects, report, waiting = Effects(), Report(), threading.Event()
    workspace = home / "work"
    workspace.mkdir(parents=True)
    text = yaml.safe_dump(script(effects.url), sort_keys=False)
    ports = {name: str(free_port()) for name in ("SYNTOR_HTTP_PORT", "SYNTOR_NATS_PORT")}
    stack, backup = LocalStack(home / "stack", script=text, environ=ports), home / "backup.tar.gz"
    try:
        stack.up()
        counter = EventCounter(stack.nats_url, stack.admin)
        streams = Streams(stack.url)
        workload = Workload(stack.url, workspace, SEED, MAX_RUNS, lambda: counter.ended, on_accepted=streams.follow)
        workload.start()
        waiting.wait(seconds)
        _succeed(stack, "backup", "create", "--stop", str(backup))
        waiting.wait(seconds)
        stack.down()
        before = len(workload.accepted)
        shutil.rmtree(Layout(stack.home).nats_store)
        _succeed(stack, "backup", "restore", str(backup))
        _succeed(stack, "replay")  # takes the older log as it is, and starts the stack
        waiting.wait(seconds)
        workload.stop()
        accepted, after = workload.accepted[:before], workload.accepted[before:]
        events = asyncio.run(_until_ended(stack, after))
        known = {recorded.envelope.runid for recorded in events}
        lost = [each.run_id for each in accepted if each.run_id not in known]
        report.runs, report.lost, report.after, report.streams = (
            before + len(after),
            len(lost),
            len(after),
            streams.followed,
        )
        report.violations = [
            *workload.faults,
            *without_end(events, [each for each in (*accepted, *after) if each.run_id in known]),
            *(
                f"run {each.run_id} was accepted after the restore and is lost"
                for each in after
                if each.run_id not in known
            ),
            *version_gaps(events),
            *turn_violations(events),
            *streams.unanswered(lost),
            *streams.silent(events, refusals=True),
        ]
        verified = stack.syntor("replay", "--verify", timeout_s=COMMAND_S)
        if verified.returncode:
            report.violations.append(f"replay --verify exited with {verified.returncode}: {verified.stdout[-800:]}")
        counter.close()
    finally:
        stack.down()
        effects.close()
    return report


def _succeed(stack: LocalStack, *command: str) -> None:
    done = stack.syntor(*command, timeout_s=COMMAND_S)
    if done.returncode:
        raise RuntimeError(f"syntor {' '.join(command)} ended with {done.returncode}: {done.stderr}")


async def _until_ended(stack: LocalStack, runs: list[Accepted]) -> list[Recorded]:
    """Return the log once every run in it has ended, or at the deadline."""
    connection = await connect(stack.nats_url, "syntor/faults", access=stack.admin)
    store, deadline = JetStreamStore(connection), time.monotonic() + END_S
    try:
        while True:
            try:
                events = [recorded async for recorded in store.load(ALL_EVENTS)]
                if time.monotonic() > deadline or not without_end(events, runs):
                    return events
            except InfrastructureError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.5)
    finally:
        await connection.close()


def main(arguments: list[str]) -> int:
    """Run one restore and print its report."""
    parser = argparse.ArgumentParser(prog="python -m syntor.faults.restored_backup", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="undisturbed load before, between and after")
    options = parser.parse_args(arguments)
    end_by_signal()
    with tempfile.TemporaryDirectory(prefix="syntor-restored-", ignore_cleanup_errors=True) as folder:
        report = run(Path(folder), options.seconds)
    print(report.text())
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
