"""Undo of random turns, in a real workspace with real git."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.agentkit.checkpoints.undoing import Undoing
from syntor.agentkit.checkpoints.workspace_states import Owner, WorkspaceStates
from syntor.agentkit.domain.checkpoint import Limits, Segment
from syntor.testing.random_turns import Picture, RandomTurns, picture

SESSION = "s1"


class Place:
    """A workspace with checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.home, self.root = folder / "home", folder / "work"
        self.root.mkdir(parents=True)
        self.states = WorkspaceStates(self.home, self.root, Limits())
        self.undoing = Undoing(self.states)

    def take(self, run: str, moment: str, session: str = SESSION) -> str:
        return self.states.take(Owner(session, run, "t1"), moment).id  # type: ignore[arg-type]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_random_turns_are_undone_exactly_one_by_one(place: Place, seed: int) -> None:
    turns = RandomTurns(place.root, seed)
    turns.turn(30)
    done: list[tuple[Segment, Picture]] = []
    for number in range(10):
        before = place.take(f"r{number}", "before")
        pictured = picture(place.root)
        turns.turn()
        done.append((Segment(before, place.take(f"r{number}", "after"), f"r{number}"), pictured))
    for segment, pictured in reversed(done):
        plan, notes = place.undoing.undo([segment], SESSION, force=False)
        assert (plan.conflicts, notes) == ([], [])
        assert picture(place.root) == pictured


@pytest.mark.parametrize("seed", range(4))
def test_a_rewind_over_many_turns_keeps_what_a_person_did_in_between(place: Place, seed: int) -> None:
    turns = RandomTurns(place.root, seed)
    turns.turn(30)
    work: list[Segment] = []
    first = picture(place.root)
    persons: set[bytes] = set()
    for number in range(8):
        before = place.take(f"r{number}", "before")
        turns.turn()
        work.append(Segment(before, place.take(f"r{number}", "after"), f"r{number}"))
        own = place.root / f"of-a-person-{number}"
        own.write_text(str(number))
        persons.add(own.name.encode())
    plan, notes = place.undoing.undo(work, SESSION, force=True)
    assert notes == []
    now = picture(place.root)
    touched = {conflict.path for conflict in plan.conflicts}
    assert {path: value for path, value in now.items() if path not in persons | touched} == {
        path: value for path, value in first.items() if path not in touched
    }
