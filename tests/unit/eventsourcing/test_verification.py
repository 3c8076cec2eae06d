"""What was changed, removed or swapped in a log is found, with its position; an intact log has no damage."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest

from syntor.contracts.agent.v1 import AgentStatusChanged
from syntor.contracts.log.v1 import LogCheckpoint
from syntor.contracts.run.v1 import RunDone, RunStarted
from syntor.eventsourcing.log_watch import LogWatch
from syntor.eventsourcing.store import RawEvent
from syntor.eventsourcing.verification import Claim, Damage, LogVerifier
from syntor.testing.events import new_event, stream_delta, user_input
from syntor.testing.memory import MemoryStore

RUNS = 4


def raw_of(store: MemoryStore) -> list[RawEvent]:
    """Return the messages of a store as a reader of the log gets them."""
    return [RawEvent(number, subject, payload) for number, (subject, payload, _) in enumerate(store.messages, 1)]


async def append_checkpoint(store: MemoryStore, revision: int, version: int) -> int:
    """Append a checkpoint of everything so far; return its position."""
    watch = LogWatch()
    watch.see(raw_of(store))
    event = LogCheckpoint(position=watch.position, hash=watch.log_hash())
    return await store.append(new_event("main", event, version=version), revision)


@pytest.fixture
async def log() -> list[RawEvent]:
    """Runs whose events alternate, with unchecked events between them, and two checkpoints, the second at the end."""
    store = MemoryStore()
    revisions = [await store.append(user_input(f"r{run}"), 0) for run in range(RUNS)]
    for run in range(RUNS):
        revisions[run] = await store.append(new_event(f"r{run}", RunStarted(agent="worker"), version=2), revisions[run])
        await store.append(stream_delta(f"r{run}", "text"), None)
    first = await append_checkpoint(store, 0, 1)
    for run in range(RUNS):
        done = RunDone(final_message="answer", task_id="t1")
        await store.append(new_event(f"r{run}", done, version=3), revisions[run])
        await store.append(stream_delta(f"r{run}", "more", index=1), None)
    await append_checkpoint(store, first, 2)
    return raw_of(store)


def verify(messages: list[RawEvent], *, last: int = 0, claims: dict[str, Claim] | None = None) -> list[Damage]:
    """Return the damage in messages."""
    verifier = LogVerifier(claims=claims)
    for raw in messages:
        verifier.feed(raw)
    return verifier.finish(last or messages[-1].position)


def covers(damage: list[Damage], position: int) -> bool:
    """Return whether some damage names a position."""
    return any(each.first <= position <= each.last for each in damage)


def test_an_intact_log_has_no_damage_and_every_checkpoint_is_compared(log: list[RawEvent]) -> None:
    verifier = LogVerifier()
    for raw in log:
        assert verifier.feed(raw) is not None
    assert verifier.finish(len(log)) == []
    assert (verifier.events, verifier.unreadable, verifier.checkpoints) == (len(log), 0, 2)
    assert verifier.covered == len(log) - 1


def test_one_flipped_bit_of_any_event_is_found_with_its_position(log: list[RawEvent]) -> None:
    generator = random.Random(7)
    for raw in log[:-1]:
        for _ in range(10):
            changed = bytearray(raw.payload)
            changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
            flipped = msgspec.structs.replace(raw, payload=bytes(changed))
            found = verify([*log[: raw.position - 1], flipped, *log[raw.position :]])
            assert covers(found, raw.position), raw


def test_any_removed_event_is_found_with_its_position(log: list[RawEvent]) -> None:
    for raw in log:
        found = verify(log[: raw.position - 1] + log[raw.position :], last=len(log))
        assert found[0].first == raw.position == found[0].last or covers(found, raw.position)
        assert any("missing" in damage.what for damage in found)


def test_two_swapped_events_are_found_also_between_aggregates_and_without_a_version(log: list[RawEvent]) -> None:
    for first, second in itertools.pairwise(log):
        swapped = [
            msgspec.structs.replace(second, position=first.position),
            msgspec.structs.replace(first, position=second.position),
        ]
        found = verify([*log[: first.position - 1], *swapped, *log[second.position :]])
        assert covers(found, first.position) or covers(found, second.position)


def test_a_message_moved_to_another_subject_is_found(log: list[RawEvent]) -> None:
    moved = msgspec.structs.replace(log[4], subject=log[4].subject.replace(".r0.", ".r1."))
    found = verify([*log[:4], moved, *log[5:]])
    assert "run_started of run.r0" in next(damage.what for damage in found if damage.first == 5 == damage.last)


def test_damage_behind_the_last_checkpoint_is_found_by_what_a_read_model_recorded(log: list[RawEvent]) -> None:
    watch = LogWatch()
    watch.see(log)
    claim = {"the read model": Claim(len(log), watch.log_hash())}
    assert verify(log, claims=claim) == []
    last = log[-1]
    changed = msgspec.structs.replace(last, payload=last.payload.replace(b"syntor/test", b"syntor/tesu"))
    [damage] = verify([*log[:-1], changed], claims=claim)
    assert damage.last == len(log)
    assert "the read model" in damage.what
    [cut] = verify(log[:-1], claims=claim)
    assert (cut.first, cut.last) == (len(log), len(log))
    assert "ends at" in cut.what


def test_damage_is_named_once_and_the_rest_of_the_log_is_still_verified(log: list[RawEvent]) -> None:
    delta = log[5]  # no event carries its hash
    changed = msgspec.structs.replace(delta, payload=delta.payload.replace(b"text", b"texu"))
    [damage] = verify([*log[:5], changed, *log[6:]])
    assert "checkpoint" in damage.what
    later = log[14]
    also = msgspec.structs.replace(later, payload=later.payload.replace(b"more", b"mord"))
    found = verify([*log[:5], changed, *log[6:14], also, *log[15:]])
    assert len(found) == 2


def test_a_message_nothing_can_read_is_no_damage_while_it_is_as_it_was_appended() -> None:
    messages = [RawEvent(1, "syntor.events.run.r1.user_input", b"\xff nonsense")]
    verifier = LogVerifier()
    verifier.feed(messages[0])
    assert verifier.finish(1) == []
    assert verifier.unreadable == 1


def test_what_follows_a_checkpoint_is_verified_without_what_is_before(log: list[RawEvent]) -> None:
    checkpoint = next(raw for raw in log if "log_checkpoint" in raw.subject)
    verifier = LogVerifier()
    for raw in log[: checkpoint.position - 1]:
        verifier.feed(raw)
    later = LogVerifier(after=checkpoint.position - 1, log_hash=bytes.fromhex(verifier.log_hash))
    for raw in log[checkpoint.position - 1 :]:
        later.feed(raw)
    assert later.finish(len(log)) == []
    assert later.checkpoints == 1


async def test_an_event_appended_past_the_writers_is_found() -> None:
    store = MemoryStore()
    idle = AgentStatusChanged(status="idle", reason="x")
    await store.append(new_event("git", idle, version=2), await store.append(new_event("git", idle), 0))
    first = await store.append(user_input("r1"), 0)
    await store.append(new_event("r1", RunStarted(agent="worker"), version=2), None)  # without an expected revision
    [damage] = verify(raw_of(store))
    assert (damage.first, damage.last, damage.subject) == (first, 4, "syntor.events.run.r1.run_started")


async def test_a_log_may_begin_with_events_of_a_version_without_hashes() -> None:
    store = MemoryStore()
    await store.append(user_input("r1"), 0)
    await store.append(new_event("r1", RunStarted(agent="worker"), version=2), None)
    done = RunDone(final_message="answer", task_id="t1")
    await store.append(new_event("r1", done, version=3), 2)
    assert verify(raw_of(store)) == []


def test_a_watch_notices_a_gap_and_a_differing_checkpoint(log: list[RawEvent]) -> None:
    gap, changed = LogWatch(), LogWatch()
    gap.see(log[:3] + log[4:])
    assert gap.damage == "position 4 is missing"
    other = msgspec.structs.replace(log[0], payload=log[0].payload + b" ")
    changed.see([other, *log[1:]])
    assert "differs from the checkpoint" in changed.damage


def test_a_watch_continues_from_what_was_recorded(log: list[RawEvent]) -> None:
    whole, first = LogWatch(), LogWatch()
    whole.see(log)
    first.see(log[:9])
    second = LogWatch(first.position, first.log_hash())
    second.see(log[9:])
    assert (second.position, second.log_hash(), second.damage) == (whole.position, whole.log_hash(), "")
    assert whole.log_hash(9) == first.log_hash()
    assert second.log_hash(9) == ""


def test_nonsense_among_the_checkpoints_stops_neither_a_watch_nor_a_verification(log: list[RawEvent]) -> None:
    place = log[-1].subject
    other_type = log[0].payload
    ahead = log[-1].payload.replace(b'"position":21', b'"position":99')
    assert ahead != log[-1].payload
    messages = [*log]
    for payload in (b"nonsense", other_type, ahead):
        messages.append(RawEvent(len(messages) + 1, place, payload))
    watch, verifier = LogWatch(), LogVerifier()
    for raw in messages:
        verifier.feed(raw)
    watch.see(messages)
    assert watch.position == verifier.position == len(messages)
    assert {damage.last for damage in verifier.finish(len(messages))} >= {len(messages) - 1, len(messages)}
