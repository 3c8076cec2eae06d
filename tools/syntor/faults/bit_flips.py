"""`python -m syntor.faults.bit_flips`: flips single bits in the files of a log; exit code 1 when one is not found.

A stack is filled with runs and stopped. Then, for each flip, one bit of one file is flipped in a copy of its store, and
two things are looked at: whether the seal finds it and what the next start would do, and what happens after a crash,
when there is no seal: nats-server is started on the damaged files and the log is verified with its hashes. Every kind
of file is chosen at least once, then files by their size.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx2
import msgspec

from syntor.contracts.errors import SyntorError
from syntor.contracts.topology import EVENTS
from syntor.eventsourcing.verification import Claim, LogVerifier, worst
from syntor.faults.flip import Flip
from syntor.jetstream.admin import apply_topology
from syntor.jetstream.connection import connect
from syntor.projections.database import open_store
from syntor.projections.store import Checkpoint
from syntor.projector.domain.read_model import ReadModel
from syntor.replay.integrity import verify_log
from syntor.replay.source import open_log
from syntor.stack import seal
from syntor.stack.block_file import positions_in
from syntor.stack.nats_log import file_warnings
from syntor.testing.local_stack import LocalStack, headers_of
from syntor.testing.nats_server import NatsServer

CONCURRENCY = 16
RUNS = 1200  # with texts of this length more than one file of messages, the first of them compressed
TEXT = "A sentence of a conversation of some length, as people and models write them. " * 16
SCRIPT = f"""
rules:
  - match: ^touch
    tool_calls: [{{name: bash, arguments: {{command: touch x}}}}]
  - text: {TEXT}
"""


class Outcome(msgspec.Struct, frozen=True):
    """What became of a flip."""

    flip: Flip
    sealed: str
    """What the seal says; empty: it does not see the flip."""
    refused: bool
    """Whether the next start is refused; otherwise the file is restored."""
    repaired: bool
    """Whether what can be restored was, to the byte; an index is rebuilt by the server."""
    position_named: bool
    """Whether the seal names the position of the flipped bit; True for files that hold none."""
    crashed: str
    """What the hashes of the log say when there is no seal: damage with its position, or `intact`."""
    warned: bool
    """Whether nats-server logged a warning then."""

    @property
    def found_after_a_crash(self) -> bool:
        """Whether damage shows without the seal."""
        return self.crashed != "intact"

    @property
    def is_of_the_log(self) -> bool:
        """Whether the file holds events."""
        return self.flip.kind == f"{EVENTS}/*.blk"

    @property
    def passed(self) -> bool:
        """Whether it is found with its position; of the log also without the seal."""
        found = bool(self.sealed) and self.position_named and (self.refused or self.repaired)
        return found and (self.found_after_a_crash or not self.is_of_the_log)


def fill(home: Path, runs: int) -> Checkpoint:
    """Fill a stack with runs, stop it, and return the checkpoint of its read models."""
    with LocalStack(home, script=SCRIPT) as stack:
        asyncio.run(_start_runs(stack.url, runs))
        stack.syntor("chat", "--agent", "worker", stdin=f"question {'long ' * 100_000}")  # its data is kept as a blob
        for number in range(3):  # runs that wait for an approval, each with a timer
            stack.syntor("chat", "--agent", "worker", f"touch {number}")
    return read_checkpoint(home)


async def _start_runs(url: str, runs: int) -> None:
    numbers = iter(range(runs))
    async with httpx2.AsyncClient(base_url=url, headers=headers_of(url), timeout=60) as client:

        async def work() -> None:
            for _ in numbers:
                body = {"agent": "worker", "input": f"question {TEXT}"}
                response = await client.post("/v1/runs", json=body, headers={"Prefer": "wait=30"})
                response.raise_for_status()

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


def read_checkpoint(home: Path) -> Checkpoint:
    """Return the checkpoint of a stack's read models."""

    async def read() -> Checkpoint:
        store = open_store(f"sqlite:///{home}/data/readmodel.db")
        await store.open(ReadModel())
        try:
            return await store.checkpoint()
        finally:
            await store.close()

    return asyncio.run(read())


def choose(store: Path, flips: int, generator: random.Random, *, of_each_kind: bool = True) -> list[Flip]:
    """Choose bits: one in each kind of file, the others by the sizes of all files; or any bit of any file."""
    files = [path for path in sorted((store / "jetstream").rglob("*")) if path.is_file() and path.stat().st_size]
    names = [str(path.relative_to(store)) for path in files]
    sizes = [path.stat().st_size for path in files]
    if not of_each_kind:
        picked = generator.choices(range(len(names)), k=flips)
        return [Flip(names[at], generator.randrange(sizes[at]), generator.randrange(8)) for at in picked]
    kinds: dict[str, str] = {Flip(name, 0, 0).kind: name for name in names}
    chosen = [*kinds.values()][:flips]
    chosen += generator.choices(names, sizes, k=flips - len(chosen))
    return [Flip(name, generator.randrange(sizes[names.index(name)]), generator.randrange(8)) for name in chosen]


def try_flip(store: Path, flip: Flip, read: Checkpoint, folder: Path) -> Outcome:
    """Flip a bit in a copy of a store, and look at what finds it."""
    copy = folder / "store"
    shutil.copytree(store, copy)
    path = copy / flip.path
    original = path.read_bytes()
    content = bytearray(original)
    content[flip.offset] ^= 1 << flip.bit
    path.write_bytes(bytes(content))
    changed = seal.changed(copy) or []
    refused = any(not each.file.is_restorable for each in changed)
    named = all(_names_position(each, flip, original) for each in changed)
    crashed, warned = _after_a_crash(folder, read)
    repaired = False
    if changed and not refused:
        path.write_bytes(bytes(content))
        seal.restore(copy, changed)
        repaired = path.name == "index.db" or path.read_bytes() == original
    shutil.rmtree(folder)
    return Outcome(flip, "; ".join(each.text for each in changed), refused, repaired, named, crashed, warned)


def _names_position(each: seal.Changed, flip: Flip, original: bytes) -> bool:
    """Return whether the seal names the position the flipped byte belongs to."""
    if not each.file.holds_messages or EVENTS not in flip.path:
        return True
    position = positions_in(original, flip.offset, flip.offset + 1)[0] or each.file.first
    numbers = [int(word) for word in each.detail.rpartition(EVENTS)[2].split() if word.isdecimal()]
    last = numbers[-1] if len(numbers) > 1 or "its end" not in each.detail else sys.maxsize
    return bool(numbers) and numbers[0] <= position <= last


def _after_a_crash(folder: Path, read: Checkpoint) -> tuple[str, bool]:
    """Start a server on damaged files, and verify the log with what the read models recorded."""

    async def verified(url: str) -> LogVerifier:
        connection = await connect(url, "syntor/bit-flips")
        try:
            await apply_topology(connection)
        finally:
            await connection.close()
        async with open_log(url) as source:
            return await verify_log(source, {"the read model": Claim(read.position, read.log_hash)})

    server = NatsServer(folder)
    try:
        with server:
            log = asyncio.run(verified(server.url))
        found = worst(log.damage)
        said = f"{found.positions}: {found.what}" if found is not None else "intact"
    except SyntorError as exc:
        said = f"the log cannot be read: {exc}"
    except RuntimeError:
        server.kill()
        said = "nats-server does not start"
    return said, bool(file_warnings(folder / "nats.log"))


def report(outcomes: list[Outcome]) -> str:
    """Return a table by kind of file."""
    lines = [f"{'file':34}{'flips':>6}{'found':>7}{'start':>22}{'without the seal':>34}{'warned':>8}"]
    for kind in sorted({outcome.flip.kind for outcome in outcomes}):
        of_kind = [outcome for outcome in outcomes if outcome.flip.kind == kind]
        starts = Counter("refused" if outcome.refused else "restored" for outcome in of_kind)
        crashes = Counter("damage found" if outcome.found_after_a_crash else "log intact" for outcome in of_kind)
        lines.append(
            f"{kind:34}{len(of_kind):6}{sum(bool(outcome.sealed) for outcome in of_kind):7}"
            f"{_counted(starts):>22}{_counted(crashes):>34}{sum(outcome.warned for outcome in of_kind):8}"
        )
    failed = [outcome for outcome in outcomes if not outcome.passed]
    lines.append(f"{len(outcomes)} flips, {len(outcomes) - len(failed)} found with their position, {len(failed)} not")
    lines += [f"NOT FOUND: {outcome}" for outcome in failed]
    return "\n".join(lines)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


def main(arguments: list[str]) -> int:
    """Run the campaign and print its report."""
    parser = argparse.ArgumentParser(prog="python -m syntor.faults.bit_flips", description=__doc__)
    parser.add_argument("--flips", type=int, default=200, help="number of bits, each in a copy of its own")
    parser.add_argument("--seed", type=int, default=1, help="seed of the choice")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs in the log")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="syntor-flips-") as name:
        home = Path(name) / "home"
        read = fill(home, options.runs)
        store = home / "data" / "nats"
        began = time.perf_counter()
        said, _ = _copied(store, read, Path(name) / "intact")
        print(f"log of {read.position} events: {said}, verified in {time.perf_counter() - began:.2f} s", flush=True)
        outcomes: list[Outcome] = []
        for number, flip in enumerate(choose(store, options.flips, random.Random(options.seed)), 1):
            outcomes.append(try_flip(store, flip, read, Path(name) / "flip"))
            text = f"{number} {flip.path} byte {flip.offset} bit {flip.bit}: {outcomes[-1].sealed or 'NOT FOUND'}"
            print(f"{text} | {outcomes[-1].crashed}", flush=True)
    print(report(outcomes))
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def _copied(store: Path, read: Checkpoint, folder: Path) -> tuple[str, bool]:
    """Verify an unchanged copy."""
    shutil.copytree(store, folder / "store")
    return _after_a_crash(folder, read)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
