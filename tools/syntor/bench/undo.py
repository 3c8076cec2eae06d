"""Checkpoints and undo of 100 random turns in a workspace of 20,000 files, with `git add` as baseline."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

from syntor.agentkit.checkpoints.undoing import Undoing
from syntor.agentkit.checkpoints.workspace_states import Owner, WorkspaceStates
from syntor.agentkit.domain.checkpoint import Limits, Segment
from syntor.testing.random_turns import Picture, RandomTurns, picture

FILES, TURNS, SEED = 20_000, 100, 7
_SESSION = "bench"


def main() -> None:
    """Measure and print; an undo that is not exact ends the benchmark."""
    with tempfile.TemporaryDirectory(prefix="syntor-bench-", ignore_cleanup_errors=True) as folder:
        root = Path(folder) / "workspace"
        _populate(root)
        baseline = _git_add_s(Path(folder), root), _git_add_s(Path(folder), root)
        states = WorkspaceStates(Path(folder) / "home", root, Limits())
        first = states.take(Owner(_SESSION, "first", "t1"), "before")
        second = states.take(Owner(_SESSION, "first", "t1"), "after")
        print(f"{first.files} files, {first.size / 1e6:.0f} MB")
        print(
            f"first checkpoint    {first.duration_s:7.3f} s   ratio to git add  {first.duration_s / baseline[0]:5.2f}"
        )
        print(
            f"second checkpoint   {second.duration_s:7.3f} s   ratio to git add  {second.duration_s / baseline[1]:5.2f}"
        )
        _turns(states, root)


def _turns(states: WorkspaceStates, root: Path) -> None:
    undoing, turns = Undoing(states), RandomTurns(root, SEED)
    work: list[tuple[Segment, Picture]] = []
    taking: list[float] = []
    pictured = picture(root)
    for number in range(TURNS):
        before = states.take(Owner(_SESSION, f"r{number}", "t1"), "before")
        turns.turn()
        after = states.take(Owner(_SESSION, f"r{number}", "t1"), "after")
        taking += [before.duration_s, after.duration_s]
        work.append((Segment(before.id, after.id, f"r{number}"), pictured))
        pictured = picture(root)
    undoes: list[float] = []
    for segment, wanted in reversed(work):
        began = time.perf_counter()
        _, notes = undoing.undo([segment], _SESSION, force=False)
        undoes.append(time.perf_counter() - began)
        if notes or picture(root) != wanted:
            raise SystemExit(f"turn {segment.run} was not undone exactly: {notes}")
    print(f"checkpoint in turns {_median(taking):7.3f} s median, {max(taking):.3f} s at most")
    print(f"undo of one turn    {_median(undoes):7.3f} s median, {max(undoes):.3f} s at most; all {TURNS} exact")


def _populate(root: Path) -> None:
    made = random.Random(SEED)
    for number in range(FILES):
        folder = root / f"package{number % 200}" / f"module{number % 2000 // 200}"
        folder.mkdir(parents=True, exist_ok=True)
        lines = (f"value = {made.random()}\n" for _ in range(made.randint(5, 60)))
        (folder / f"file{number}.py").write_text("".join(lines))
    (root / ".gitignore").write_text("*.log\nbuild/\n")


def _git_add_s(folder: Path, root: Path) -> float:
    """Return the seconds `git add` takes in a repository outside the workspace; a second one finds nothing new."""
    environ = os.environ | {"GIT_DIR": str(folder / "baseline.git"), "GIT_WORK_TREE": str(root)}
    subprocess.run(["git", "init", "--quiet"], env=environ, check=True)
    began = time.perf_counter()
    subprocess.run(["git", "add", "--all", "."], env=environ, cwd=root, check=True)
    return time.perf_counter() - began


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    main()
