"""One flipped bit in a file of a stopped log: messages are refused with their positions, the rest is restored."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path

import pytest

from syntor.faults import bit_flips
from syntor.stack import seal, unsealed
from syntor.testing.local_stack import LocalStack

STREAM = Path("data") / "nats" / "jetstream" / "$G" / "streams" / "SYNTOR_EVENTS"


@pytest.fixture
def stopped(tmp_path: Path) -> LocalStack:
    """A stopped stack with one run."""
    stack = LocalStack(tmp_path / "home")
    with stack:
        assert stack.syntor("chat", "--agent", "worker", "hello").returncode == 0
    return stack


def _flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(bytes(content))


def _findings(stack: LocalStack, name: str) -> list[dict[str, str]]:
    found = json.loads(stack.syntor("doctor", "-o", "json").stdout)["findings"]
    return [finding for finding in found if finding["name"] == name]


def test_a_damaged_event_is_refused_with_its_position_and_named_once_it_is_accepted(
    stopped: LocalStack, tmp_path: Path
) -> None:
    [finding] = _findings(stopped, "integrity")
    assert finding["state"] == "ok", finding
    block = stopped.home / STREAM / "msgs" / "1.blk"
    content = block.read_bytes()
    _flip(block, content.rindex(b"The scripted answer."))

    [finding] = _findings(stopped, "integrity")
    assert finding["state"] == "problem"
    assert "SYNTOR_EVENTS position" in finding["detail"]
    refused = stopped.syntor("up", "--detach")
    assert refused.returncode == 3, refused.stdout + refused.stderr
    for said in ("the log is damaged", "1.blk", "SYNTOR_EVENTS position", "syntor backup restore", seal.NAME):
        assert said in refused.stderr, refused.stderr
    backup = stopped.syntor("backup", "create", str(tmp_path / "one.tar.gz"))
    assert backup.returncode == 3, backup.stdout + backup.stderr
    assert "the log is damaged" in backup.stderr

    (stopped.home / "data" / "nats" / seal.NAME).unlink()  # it is accepted as it is
    with stopped:
        verified = stopped.syntor("replay", "--verify")
        assert verified.returncode == 7, verified.stdout + verified.stderr
        assert "damage at position" in verified.stdout
        assert "missing from the log" in verified.stdout
        [finding] = [each for each in _findings(stopped, "integrity") if each["state"] == "problem"]
        assert "position" in finding["detail"]


def test_what_the_server_keeps_about_its_consumers_is_restored_and_reported(stopped: LocalStack) -> None:
    state = stopped.home / STREAM / "obs" / "orchestrator-decisions" / "o.dat"
    before = state.read_bytes()
    _flip(state, len(before) - 1)
    [finding] = _findings(stopped, "integrity")
    assert finding["state"] == "note"
    with stopped:
        [finding] = [each for each in _findings(stopped, "start") if "o.dat" in each["detail"]]
        assert "restored" in finding["detail"]
        assert stopped.syntor("chat", "--agent", "worker", "and on").returncode == 0
        assert stopped.syntor("replay", "--verify").returncode == 0


def test_after_a_crash_a_damaged_event_ends_the_start_before_the_server_cuts_off_what_follows(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path / "home")
    stack.up()
    for _ in range(3):
        assert stack.syntor("chat", "--agent", "worker", "hello").returncode == 0
    state = json.loads((stack.home / "run" / "stack.json").read_bytes())
    os.kill(state["pid"], signal.SIGKILL)
    for service in state["services"]:
        os.kill(service["pid"], signal.SIGKILL)
    block = stack.home / STREAM / "msgs" / "1.blk"
    content = block.read_bytes()
    _flip(block, content.index(b"The scripted answer."))

    refused = stack.syntor("up", "--detach")
    assert refused.returncode == 3, refused.stdout + refused.stderr
    for said in ("the log is damaged", "SYNTOR_EVENTS position", "would cut off", "syntor backup restore"):
        assert said in refused.stderr, refused.stderr
    [finding] = _findings(stack, "integrity")
    assert finding["state"] == "problem"
    assert stack.syntor("backup", "create", str(tmp_path / "one.tar.gz")).returncode == 3
    assert stack.syntor("up", "--detach").returncode == 3
    _flip(block, content.index(b"The scripted answer."))
    assert block.read_bytes() == content  # nothing was cut off

    damaged = stack.home / "data" / "nats" / unsealed.DAMAGED
    damaged.rename(damaged.with_name(unsealed.ACCEPTED))
    with stack:
        verified = stack.syntor("replay", "--verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_few_flips_of_the_campaign_are_all_found(stopped: LocalStack, tmp_path: Path) -> None:
    read = bit_flips.read_checkpoint(stopped.home)
    store = stopped.home / "data" / "nats"
    flips = [flip for flip in bit_flips.choose(store, 60, random.Random(5)) if "EVENTS/msgs" in flip.path][:6]
    assert {Path(flip.path).name for flip in flips} == {"1.blk", "index.db"}
    for flip in flips:
        outcome = bit_flips.try_flip(store, flip, read, tmp_path / "flip")
        assert outcome.passed, outcome
