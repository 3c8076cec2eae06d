"""Takes turns of a session back: the log has it first, then the files are brought back on this machine."""

from __future__ import annotations

import sys
from typing import NoReturn

from syntor.agentkit.checkpoints.undoing import summary
from syntor.agentkit.domain.checkpoint import Plan, shown
from syntor.cli.api import Api, Rewind
from syntor.cli.output import ExitCode, fail
from syntor.cli.session_work import Place, SessionWork, print_diff
from syntor.contracts.session.v1 import WorkspaceRewound
from syntor.contracts.vocabulary import RewindScope

_LISTED = 50  # paths of one workspace that are printed


class SessionRewind:
    """One `syntor sessions rewind`. Methods end the process when they refuse."""

    def __init__(self, api: Api, session_id: str, *, force: bool, dry_run: bool) -> None:
        self._api = api
        self._session_id = session_id
        self._force = force
        self._dry_run = dry_run
        self._work = SessionWork.read(api, session_id)

    def rewind(self, turn: str, scope: RewindScope) -> None:
        """Take back a turn and all after it; an empty turn is the last one."""
        work = self._work
        first = work.index(turn) if turn else work.last()
        runs = work.runs[first:]
        places = work.places(runs) if scope != "conversation" else []
        plans = [(place, place.undoing.plan(place.work, self._session_id, force=self._force)) for place in places]
        self._show(plans)
        for line in self._work.without_checkpoints(runs) if scope != "conversation" else []:
            sys.stderr.write(f"note: {line}\n")
        for place, _ in plans:
            for gone in place.undoing.lost(place.work)[:_LISTED]:
                sys.stderr.write(f"note: {shown(gone.path)} is gone and was not kept: {gone.reason}\n")
        if any(plan.conflicts for _, plan in plans) and not self._force:
            self._refuse(plans)
        if self._dry_run:
            return
        request = Rewind(
            to_run=runs[0].run_id,
            scope=scope,
            forced=self._force,
            workspaces=[_rewound(place, plan) for place, plan in plans if plan.changes],
        )
        self._api.rewind_session(self._session_id, request)
        failed: list[str] = []
        for place, _ in plans:
            plan, notes = place.undoing.undo(place.work, self._session_id, force=self._force)
            failed += notes + ([] if self._force else [f"{shown(one.path)}: {one.why}" for one in plan.conflicts])
        self._finish(f"turn {first + 1}{f' to {len(work.runs)}' if len(runs) > 1 else ''} taken back", scope, failed)

    def redo(self) -> None:
        """Take back the newest rewind."""
        view = self._work.view
        files = set(view.undone) != set(view.undone_before)
        again = [run for run in self._work.runs if run.run_id in set(view.undone) ^ set(view.undone_before)]
        places = self._work.places(again, taken_back=True) if files else []
        plans = [(place, place.undoing.planned_redo(self._session_id, force=self._force)) for place in places]
        self._show(plans)
        if any(plan.conflicts for _, plan in plans) and not self._force:
            self._refuse(plans)
        if self._dry_run:
            return
        changed = [_rewound(place, plan) for place, plan in plans if plan.changes]
        self._api.rewind_session(self._session_id, Rewind(redo=True, forced=self._force, workspaces=changed))
        failed: list[str] = []
        for place, _ in plans:
            failed += place.undoing.redo(self._session_id, force=self._force)[1]
        self._finish("the last rewind is taken back", "both", failed)

    def _show(self, plans: list[tuple[Place, Plan]]) -> None:
        for place, plan in plans:
            if not plan.changes:
                continue
            print(f"{place.workspace}: {len(plan.changes)} {'path' if len(plan.changes) == 1 else 'paths'}")
            lines = summary(plan)
            for line in lines[:_LISTED]:
                print(f"  {line}")
            if len(lines) > _LISTED:
                print(f"  ... and {len(lines) - _LISTED} more")

    def _refuse(self, plans: list[tuple[Place, Plan]]) -> NoReturn:
        for place, plan in plans:
            for conflict in plan.conflicts[:_LISTED]:
                sys.stderr.write(f"  {shown(conflict.path)}: {conflict.why}\n")
            if plan.conflicts and place.work:
                print_diff(place.undoing.work_of_others(place.work, self._session_id, plan.conflicts))
        count = sum(len(plan.conflicts) for _, plan in plans)
        fail(
            f"nothing was changed: {count} paths hold work of others, shown above",
            ExitCode.RUN_FAILED,
            "--force takes it back too; --redo then brings it back",
        )

    def _finish(self, what: str, scope: RewindScope, failed: list[str]) -> None:
        for line in failed:
            sys.stderr.write(f"error: {line}\n")
        parts = {"files": "files only", "conversation": "messages only", "both": "files and messages"}
        print(f"{what} ({parts[scope]}); syntor sessions rewind {self._session_id} --redo takes that back")
        if failed:
            raise SystemExit(int(ExitCode.RUN_FAILED))


def _rewound(place: Place, plan: Plan) -> WorkspaceRewound:
    return WorkspaceRewound(workspace=place.workspace, paths=len(plan.changes), conflicts=len(plan.conflicts))
