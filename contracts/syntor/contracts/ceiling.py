"""Ceilings of runs: which of two is lower, and what is above one. Pure; folders are compared as they are given."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

from syntor.contracts.run.v1 import Ceiling
from syntor.contracts.vocabulary import PermissionMode

ORDER: tuple[PermissionMode, ...] = ("plan", "ask", "auto-edit", "auto")
"""Modes, the one that allows least first."""
NO_CEILING = Ceiling()
NOWHERE = "/dev/null/nowhere"
"""A folder that cannot exist."""


def lower(one: PermissionMode, other: PermissionMode) -> PermissionMode:
    """Return the mode of two that allows less."""
    return one if ORDER.index(one) <= ORDER.index(other) else other


def combined(ceilings: Iterable[Ceiling | None]) -> Ceiling:
    """Return the ceiling that is below all; None is no ceiling.

    Where two lists of workspaces have no folder in common, the result has a list that no folder is inside of.
    """
    result = NO_CEILING
    for each in ceilings:
        if each is not None:
            mode = lower(result.max_mode, each.max_mode)
            result = Ceiling(max_mode=mode, workspaces=_common(result.workspaces, each.workspaces))
    return result


def is_inside(folder: str, workspaces: Iterable[str]) -> bool:
    """Return whether a folder is one of some, or below one; all are absolute and have no links."""
    path = PurePath(folder)
    return ".." not in path.parts and any(path.is_relative_to(each) for each in workspaces)


def _common(one: list[str], other: list[str]) -> list[str]:
    if not one or not other:
        return one or other
    inside = [each for each in one if is_inside(each, other)] + [each for each in other if is_inside(each, one)]
    return list(dict.fromkeys(inside)) or [NOWHERE]
