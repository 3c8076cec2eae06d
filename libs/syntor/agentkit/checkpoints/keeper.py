"""Keeps states of all workspaces of one process, one at a time for each workspace, in threads."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from syntor.agentkit.checkpoints.retention import Retention, maintain
from syntor.agentkit.checkpoints.shadow_git import CheckpointError
from syntor.agentkit.checkpoints.undoing import Figures, Undoing
from syntor.agentkit.checkpoints.workspace_states import Owner, Taken, WorkspaceStates
from syntor.agentkit.domain.checkpoint import Limits, Segment
from syntor.contracts.vocabulary import CheckpointMoment
from syntor.runtime.telemetry import get_logger

_MAINTAINED_EVERY_S = 600.0
_COUNTED_APART = 50  # stretches; more are counted as one, with what others changed in between


class Keeper:
    """The checkpoints of an agent service."""

    def __init__(self, home: Path, limits: Limits, retention: Retention) -> None:
        self._home = home
        self._limits = limits
        self._retention = retention
        self._known: dict[Path, WorkspaceStates] = {}
        self._undoing: dict[Path, Undoing] = {}
        self._locks: dict[Path, asyncio.Lock] = {}
        self._maintained: dict[Path, float] = {}
        self._maintaining: set[asyncio.Task[None]] = set()

    def of(self, workspace: Path) -> WorkspaceStates:
        """Return the states of a workspace."""
        if workspace not in self._known:
            self._known[workspace] = WorkspaceStates(self._home, workspace, self._limits)
        return self._known[workspace]

    async def take(self, workspace: Path, owner: Owner, moment: CheckpointMoment) -> Taken:
        """Keep a state.

        Raises:
            CheckpointError: it cannot be kept; says why.
        """
        async with self._locks.setdefault(workspace, asyncio.Lock()):
            try:
                return await asyncio.to_thread(self.of(workspace).take, owner, moment)
            except OSError as exc:
                raise CheckpointError(f"{exc.filename or workspace}: {exc.strerror or exc}") from exc

    async def figures(self, workspace: Path, work: list[Segment], session: str) -> Figures:
        """Return how much agents changed in stretches of work; nothing where that cannot be read."""

        def read() -> Figures:
            undoing = self._undoing.setdefault(workspace, Undoing(self.of(workspace)))
            return undoing.figures(undoing.touched(counted, session))

        counted = work if len(work) <= _COUNTED_APART else [Segment(work[0].before, work[-1].after)]

        async with self._locks.setdefault(workspace, asyncio.Lock()):
            return await asyncio.to_thread(read)

    def maintain(self, workspace: Path) -> None:
        """Remove what is too old and pack the rest, in the background, now and then."""
        if time.monotonic() - self._maintained.get(workspace, -_MAINTAINED_EVERY_S) < _MAINTAINED_EVERY_S:
            return
        self._maintained[workspace] = time.monotonic()
        task = asyncio.create_task(self._maintain(workspace))
        self._maintaining.add(task)
        task.add_done_callback(self._maintaining.discard)

    async def _maintain(self, workspace: Path) -> None:
        try:
            await asyncio.to_thread(maintain, self.of(workspace).git, self._retention)
        except (CheckpointError, OSError) as exc:
            get_logger().warning("checkpoints_not_maintained", error=str(exc))
