"""A flipped bit in the store of a killed server is judged by what can be read of it."""

from __future__ import annotations

import pytest

from syntor.faults.crashed_store import FOUND, HARMLESS, MISSED, PROGRESS, REPORTED, Reading, judge
from syntor.faults.flip import Flip
from syntor.testing.block_files import record

STREAMS = "jetstream/$G/streams"
LOG = Flip(f"{STREAMS}/SYNTOR_EVENTS/msgs/1.blk", 3000, 1)
STATE = Flip(f"{STREAMS}/SYNTOR_EVENTS/obs/orchestrator-decisions/o.dat", 3, 1)
TIMERS = Flip(f"{STREAMS}/SYNTOR_TIMERS/msgs/1.blk", 3, 1)
CONTENT = b"".join(record(number, bytes(1000)) for number in range(1, 10))
CONSUMER = "SYNTOR_EVENTS/orchestrator-decisions"
INTACT = Reading({"SYNTOR_EVENTS": "9 abc", "SYNTOR_TIMERS": "1", CONSUMER: "delivered 9"})


@pytest.mark.parametrize(
    ("flip", "damaged", "what"),
    [
        (LOG, Reading({"SYNTOR_EVENTS": "2 a"}, ("1.blk: SYNTOR_EVENTS position 3; up to 9 the server would",)), FOUND),
        (LOG, Reading({"SYNTOR_EVENTS": "2 a"}, ("positions 2 to 4: one of them was changed",)), FOUND),
        (LOG, Reading({"SYNTOR_EVENTS": "2 a"}, ("position 7: missing",)), MISSED),
        (LOG, Reading(INTACT.contents | {"SYNTOR_EVENTS": "2 a"}), MISSED),
        (LOG, INTACT, HARMLESS),
        (STATE, Reading(INTACT.contents | {CONSUMER: "delivered 12"}), PROGRESS),
        (STATE, Reading({}, changes=("the start is refused",)), REPORTED),
        (TIMERS, Reading(INTACT.contents | {"SYNTOR_TIMERS": "0"}), MISSED),
        (TIMERS, Reading(INTACT.contents | {"SYNTOR_TIMERS": "0"}, ("position 1",)), FOUND),
        (TIMERS, INTACT, HARMLESS),
    ],
)
def test_a_flip_is_judged_by_what_can_be_read(flip: Flip, damaged: Reading, what: str) -> None:
    assert judge(flip, CONTENT, INTACT, damaged).what == what
