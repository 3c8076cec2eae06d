"""Keeps the state of the workspace before the calls of a model answer change it, and after them.

So what someone else changes while the model thinks, or while the task waits, is told apart from what the agent changed.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from syntor.agentkit.checkpoints.keeper import Keeper
from syntor.agentkit.checkpoints.shadow_git import CheckpointError
from syntor.agentkit.checkpoints.undoing import Figures
from syntor.agentkit.checkpoints.workspace_states import Owner, Taken
from syntor.agentkit.domain.checkpoint import Mark, segments, shown
from syntor.agentkit.domain.mcp_names import PREFIX
from syntor.agentkit.execution.task_log import TaskLog
from syntor.agentkit.tools.tool import Tool
from syntor.contracts.bounds import MAX_LINE, clip
from syntor.contracts.task.v1 import LeftOut, WorkspaceCheckpointed
from syntor.contracts.vocabulary import CheckpointMoment
from syntor.runtime.telemetry import get_logger

_LISTED = 20  # things left out that an event names


class TurnCheckpoints:
    """The checkpoints of one task."""

    def __init__(self, log: TaskLog, workspace: Path | None, keeper: Keeper | None) -> None:
        self._log = log
        self._workspace = workspace
        self._keeper = keeper
        self._lock = asyncio.Lock()
        self._changing = False

    async def before(self, tool: Tool) -> None:
        """Keep the state before a call that may change the workspace, unless another call of the answer did.

        Raises:
            SupersededError: another attempt owns the task.
            InfrastructureError: the log could not be appended to.
        """
        if self._keeper is None or self._workspace is None or not _may_change(tool):
            return
        async with self._lock:
            if self._changing:
                return
            self._changing = True
            if not self._is_open():
                await self._take("before")

    async def after(self) -> None:
        """Keep the state after the calls of an answer, if one of them may have changed it; errors as `before`."""
        async with self._lock:
            changing, self._changing = self._changing, False
            if changing and self._is_open() and not self._log.superseded:
                await self._take("after")

    def _is_open(self) -> bool:
        """Return whether the newest kept state is one before calls."""
        kept = [each for each in self._log.state.checkpoints if each.checkpoint]
        return bool(kept) and kept[-1].moment == "before"

    async def _take(self, moment: CheckpointMoment) -> None:
        assert self._keeper is not None
        assert self._workspace is not None
        log, workspace = self._log, str(self._keeper.of(self._workspace).workspace)
        owner = Owner(log.envelope.sessionid, log.run_id, log.assigned.task_id)
        try:
            taken = await self._keeper.take(self._workspace, owner, moment)
        except CheckpointError as exc:
            await self._append_problem(
                WorkspaceCheckpointed(moment=moment, workspace=workspace, problem=clip(str(exc)))
            )
            return
        event = self._event(moment, workspace, taken)
        if moment == "after":
            found = await self._figures(owner, taken.id)
            event = msgspec.structs.replace(
                event, changed_files=found.files, lines_added=found.added, lines_removed=found.removed
            )
            self._keeper.maintain(self._workspace)
        await log.append(event)

    async def _append_problem(self, event: WorkspaceCheckpointed) -> None:
        """Append why there is no checkpoint, once."""
        known = self._log.state.checkpoints
        if not known or known[-1].problem != event.problem:
            get_logger().warning("workspace_not_checkpointed", problem=event.problem)
            await self._log.append(event)

    async def _figures(self, owner: Owner, after: str) -> Figures:
        """Return how much the task changed, up to a state."""
        assert self._keeper is not None
        assert self._workspace is not None
        marks = [
            Mark(owner.run, owner.task, each.moment, each.checkpoint)
            for each in self._log.state.checkpoints
            if each.checkpoint
        ]
        work = segments([*marks, Mark(owner.run, owner.task, "after", after)])
        try:
            return await self._keeper.figures(self._workspace, work, owner.session)
        except CheckpointError as exc:
            get_logger().warning("changes_not_counted", problem=str(exc))
            return Figures()

    def _event(self, moment: CheckpointMoment, workspace: str, taken: Taken) -> WorkspaceCheckpointed:
        known = [each for each in self._log.state.checkpoints if each.checkpoint]
        listed = [
            LeftOut(path=clip(shown(each.path), MAX_LINE), reason=each.reason, size_bytes=each.size)
            for each in taken.left_out[:_LISTED]
        ]
        return WorkspaceCheckpointed(
            moment=moment,
            workspace=workspace,
            checkpoint=taken.id,
            files=taken.files,
            size_bytes=taken.size,
            left_out=[] if known and known[-1].left_out_count == len(taken.left_out) else listed,
            left_out_count=len(taken.left_out),
            duration_s=taken.duration_s,
        )


def _may_change(tool: Tool) -> bool:
    """Return whether a tool may change files: it writes or executes, or an MCP server does who knows what."""
    return tool.effect in ("write", "execute") or tool.name.startswith(PREFIX)
