"""What agents changed in the turns of a session: which turns there are, where they worked, and the difference."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from syntor.agentkit.checkpoints.undoing import Undoing
from syntor.agentkit.checkpoints.workspace_states import WorkspaceStates
from syntor.agentkit.domain.checkpoint import Limits, Mark, Segment, segments
from syntor.cli.api import Api
from syntor.contracts.errors import InvalidInputError
from syntor.contracts.rpc.v1 import RunView, SessionView
from syntor.contracts.run.v1 import TaskAssigned
from syntor.contracts.task.v1 import WorkspaceCheckpointed
from syntor.stack.layout import home_folder


class Turn(msgspec.Struct, frozen=True):
    """One turn, for a list."""

    number: int
    run_id: str
    changed: str
    """How many files and lines it changed."""
    state: str
    """What a rewind took back of it; empty: nothing."""
    input: str


class Place(msgspec.Struct, frozen=True):
    """A workspace agents worked in, and their stretches of work there."""

    workspace: str
    work: list[Segment]
    undoing: Undoing


class SessionWork:
    """The turns of one session."""

    def __init__(self, api: Api, view: SessionView, runs: list[RunView]) -> None:
        self.view = view
        self.runs = runs
        """Oldest first: the turns, from 1."""
        self._api = api
        self._checkpoints: dict[str, list[tuple[str, str, WorkspaceCheckpointed]]] = {}

    @classmethod
    def read(cls, api: Api, session_id: str) -> SessionWork:
        """Return the turns of a session."""
        return cls(api, api.session(session_id), list(reversed(api.session_runs(session_id))))

    def turns(self) -> list[Turn]:
        """Return all turns, the oldest first."""
        found: list[Turn] = []
        for number, run in enumerate(self.runs, 1):
            hidden, undone = run.run_id in self.view.hidden, run.run_id in self.view.undone
            state = "taken back" if hidden and undone else "messages taken back" if hidden else ""
            state = state or ("files taken back" if undone else "")
            found.append(Turn(number, run.run_id, self._changed(run.run_id), state, run.input))
        return found

    def index(self, turn: str) -> int:
        """Return the index of the run a turn is: its number, its run or the beginning or end of that.

        Raises:
            InvalidInputError: there is no such turn.
        """
        if turn.isdecimal() and 1 <= int(turn) <= len(self.runs):
            return int(turn) - 1
        found = [
            index for index, run in enumerate(self.runs) if run.run_id.startswith(turn) or run.run_id.endswith(turn)
        ]
        if len(found) != 1 or turn.isdecimal():
            raise InvalidInputError(f"turn {turn!r}: expected a number from 1 to {len(self.runs)}, or a run's id")
        return found[0]

    def last(self) -> int:
        """Return the index of the last turn that was not taken back.

        Raises:
            InvalidInputError: there is none.
        """
        gone = set(self.view.hidden) | set(self.view.undone)
        left = [index for index, run in enumerate(self.runs) if run.run_id not in gone]
        if not left:
            raise InvalidInputError("all turns of the session are taken back already")
        return left[-1]

    def places(self, runs: list[RunView], agent: str = "", *, taken_back: bool = False) -> list[Place]:
        """Return where agents worked in some runs, oldest first.

        Args:
            agent: only this one; empty: all.
            taken_back: whether runs whose files are taken back count.
        """
        home = home_folder(os.environ)
        marks: dict[str, list[Mark]] = {}
        for run in runs:
            if run.run_id in self.view.undone and not taken_back:
                continue
            for task, of_agent, event in self._of(run.run_id):
                if event.checkpoint and agent in ("", of_agent):
                    mark = Mark(run.run_id, task, event.moment, event.checkpoint)
                    marks.setdefault(event.workspace, []).append(mark)
        return [
            Place(workspace, segments(found), Undoing(WorkspaceStates(home, Path(workspace), Limits())))
            for workspace, found in marks.items()
        ]

    def without_checkpoints(self, runs: list[RunView]) -> list[str]:
        """Return a line for each reason for which work of some runs cannot be taken back."""
        reasons = {event.problem for run in runs for _, _, event in self._of(run.run_id) if event.problem}
        return [f"some changes have no checkpoint: {reason}" for reason in sorted(reasons)]

    def diff(self, turn: str, agent: str, *, stat: bool) -> str:
        """Return what agents changed: in one turn, or in all; by one agent, or by all.

        Raises:
            InvalidInputError: there is no such turn.
            CheckpointError: the states are not on this machine, or not kept any more.
        """
        runs = [self.runs[self.index(turn)]] if turn else self.runs
        shown: list[str] = []
        for place in self.places(runs, agent):
            touched = place.undoing.touched(place.work, self.view.session_id)
            text = place.undoing.diff(touched, stat=stat)
            figures = place.undoing.figures(touched)
            counts = f"{figures.files} files changed, {figures.added} lines added, {figures.removed} removed"
            shown += [part for part in (f"# {place.workspace}: {counts}", text) if part]
        shown += [f"# {line}" for line in self.without_checkpoints(runs)]
        return "\n".join(shown) or "0 files changed"

    def _of(self, run_id: str) -> list[tuple[str, str, WorkspaceCheckpointed]]:
        """Return the checkpoints of a run: task, its agent, and the event."""
        if run_id not in self._checkpoints:
            agents: dict[str, str] = {}
            found = self._checkpoints[run_id] = []
            for event in self._api.run_events(run_id):
                match event.body:
                    case TaskAssigned(task_id=task, agent=agent):
                        agents[task] = agent
                    case WorkspaceCheckpointed() as checkpoint:
                        found.append((event.task_id, agents.get(event.task_id, ""), checkpoint))
                    case _:
                        pass
        return self._checkpoints[run_id]

    def _changed(self, run_id: str) -> str:
        newest = {task: event for task, _, event in self._of(run_id) if event.moment == "after" and event.checkpoint}
        files = sum(event.changed_files for event in newest.values())
        added = sum(event.lines_added for event in newest.values())
        removed = sum(event.lines_removed for event in newest.values())
        return f"{files} files +{added} -{removed}" if files else ""


def print_diff(text: str) -> None:
    """Print a diff, in colours on a terminal."""
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    styles = {"+": "green", "-": "red", "@": "cyan", "#": "bold", "d": "bold"}
    for line in text.splitlines():
        console.print(Text(line, style=styles.get(line[:1], "")), soft_wrap=True)
