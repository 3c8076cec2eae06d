"""Undo of random turns, in a real workspace with real git."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from syntor.agentkit.checkpoints.shadow_git import CheckpointError
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


def test_what_is_no_file_or_too_large_is_left_out_and_said(tmp_path: Path) -> None:
    place = Place(tmp_path)
    os.mkfifo(place.root / "pipe")
    os.mkfifo(place.root / ".gitignore")
    (place.root / "outside").symlink_to("/etc")
    with open(place.root / "sparse", "wb") as file:
        file.truncate(10 * 2**30)
    taken = place.states.take(Owner(SESSION, "r1", "t1"), "before")
    assert {(one.path, one.reason) for one in taken.left_out} == {
        (b".gitignore", "special"),
        (b"pipe", "special"),
        (b"sparse", "large"),
    }
    (place.root / "sparse").unlink()
    work = [Segment(taken.id, place.take("r1", "after"), "r1")]
    assert [one.path for one in place.undoing.lost(work)] == [b"sparse"]


def test_attributes_and_repositories_of_the_workspace_have_no_say(place: Place) -> None:
    (place.root / ".gitattributes").write_text("* text eol=crlf filter=evil ident\n")
    (place.root / ".git").write_text("gitdir: /nowhere\n")
    (place.root / "nested" / ".git").mkdir(parents=True)
    for name in ("f", "nested/g"):
        (place.root / name).write_bytes(b"a\r\nb\n$Id$\n")
    pictured = picture(place.root)
    before = place.take("r1", "before")
    for name in ("f", "nested/g"):
        (place.root / name).unlink()
    place.undoing.undo([Segment(before, place.take("r1", "after"), "r1")], SESSION, force=False)
    assert picture(place.root) == pictured


def test_rules_an_agent_writes_do_not_hide_what_was_kept(place: Place) -> None:
    for number in range(2100):  # more than ignored files may be
        (place.root / f"f{number}").write_text(str(number))
    pictured = picture(place.root)
    first = place.take("r1", "before")
    (place.root / ".gitignore").write_text("*\n")
    second = place.take("r1", "after")
    for number in range(2100):
        (place.root / f"f{number}").unlink()
    third = place.take("r2", "after")
    place.undoing.undo([Segment(first, second, "r1"), Segment(second, third, "r2")], SESSION, force=False)
    assert picture(place.root) == pictured


def test_the_root_a_home_folder_and_a_huge_workspace_have_no_checkpoints(place: Place, tmp_path: Path) -> None:
    for folder, why in ((Path("/"), "root of the file system"), (Path.home(), "home folder")):
        with pytest.raises(CheckpointError, match=why):
            WorkspaceStates(place.home, folder, Limits()).take(Owner(SESSION, "r1", "t1"), "before")
    small = WorkspaceStates(place.home, place.root, Limits(max_files=2))
    for number in range(3):
        (place.root / str(number)).write_text("x")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="more than 2 files"):
            small.take(Owner(SESSION, "r1", "t1"), "before")
        (place.root / "0").unlink(missing_ok=True)  # it is not read again immediately


def test_a_state_that_is_not_kept_any_more_is_named(place: Place) -> None:
    before = place.take("r1", "before")
    with pytest.raises(CheckpointError, match="checkpoint aaaaaaaaaaaa is not kept"):
        place.undoing.plan([Segment(before, "a" * 64, "r1")], SESSION, force=False)


def test_a_link_that_replaced_a_folder_leads_nowhere(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (place.root / "d").mkdir()
    (place.root / "d" / "f").write_text("kept")
    before = place.take("r1", "before")
    (place.root / "d" / "f").unlink()
    after = place.take("r1", "after")
    (place.root / "d").rmdir()
    (place.root / "d").symlink_to(outside)
    plan, _ = place.undoing.undo([Segment(before, after, "r1")], SESSION, force=True)
    assert [conflict.why for conflict in plan.conflicts] == ["a folder above it was replaced"]
    assert list(outside.iterdir()) == []


def test_what_another_session_changed_at_the_same_time_is_a_conflict(place: Place) -> None:
    before = place.take("r1", "before")
    place.take("r2", "before", "s2")
    (place.root / "shared").write_text("by both")
    place.take("r2", "after", "s2")
    (place.root / "own").write_text("by one")
    work = [Segment(before, place.take("r1", "after"), "r1")]
    plan = place.undoing.plan(work, SESSION, force=False)
    assert [(one.path, one.why) for one in plan.conflicts] == [
        (b"shared", "another session changed it at the same time")
    ]


_KILLED = """
import sys
from pathlib import Path
from syntor.agentkit.checkpoints.undoing import Undoing
from syntor.agentkit.checkpoints.workspace_states import WorkspaceStates
from syntor.agentkit.domain.checkpoint import Limits, Segment
home, root, before, after = sys.argv[1:]
Undoing(WorkspaceStates(Path(home), Path(root), Limits())).undo([Segment(before, after, "r1")], "s1", force=False)
"""


def test_an_undo_that_was_killed_is_finished_by_the_next_process(place: Place) -> None:
    for number in range(1500):
        (place.root / f"f{number}").write_text(str(number))
    pictured = picture(place.root)
    before = place.take("r1", "before")
    for path in place.root.iterdir():
        path.unlink()
    after = place.take("r1", "after")
    arguments = [sys.executable, "-c", _KILLED, str(place.home), str(place.root), before, after]
    with subprocess.Popen(arguments) as process:
        while not any(place.root.iterdir()) and process.poll() is None:
            pass
        process.kill()
    left = 1500 - len(list(place.root.iterdir()))
    assert left > 0
    place.take("r2", "before")
    assert picture(place.root) == pictured
