"""Bounds what a shadow repository holds, without its lock: no checkpoint waits for it."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from syntor.agentkit.checkpoints.shadow_git import REFS, ShadowGit

_KEPT_ALWAYS = 10  # newest states: one of them is what the next checkpoint builds on
_MAX_PACKS = 50  # each checkpoint adds one
_PACK_TIMEOUT_S = 1800.0
_GRACE = "--unpack-unreachable=2.hours.ago"  # what a checkpoint in progress wrote has no name yet
_TEMPORARY_S = 2 * 3600.0


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one repository."""

    max_age_s: float = 14 * 86400.0
    """Older states are removed."""
    max_states: int = 2000
    """Only the newest are kept."""
    max_bytes: int = 2 * 1024**3
    """While it is larger, the older half of its states is removed."""


def maintain(git: ShadowGit, retention: Retention) -> None:
    """Remove states beyond the bounds, and pack the rest once it is in many pieces.

    Raises:
        CheckpointError: git failed; a later call tries again.
    """
    names = _states(git)
    removed = beyond(names, retention, time.time_ns())
    if size_bytes(git.folder) > retention.max_bytes:
        removed = names[: max(len(names) // 2, len(removed))]
    removed = removed[: max(len(names) - _KEPT_ALWAYS, 0)]
    if removed:
        git.run("update-ref", "--stdin", given="".join(f"delete {REFS}/{name}\n" for name in removed).encode())
    for left in git.folder.glob("objects/pack/tmp_*"):
        if time.time() - left.stat().st_mtime > _TEMPORARY_S:
            left.unlink(missing_ok=True)
    if removed or sum(1 for _ in git.folder.glob("objects/pack/*.pack")) > _MAX_PACKS:
        git.run("pack-refs", "--all", "--prune")
        git.run("repack", "-A", "-d", "-q", "--threads=1", "--window-memory=64m", _GRACE, timeout_s=_PACK_TIMEOUT_S)
        git.run("prune", "--expire=2.hours.ago", timeout_s=_PACK_TIMEOUT_S)


def beyond(names: list[str], retention: Retention, now_ns: int) -> list[str]:
    """Return the states beyond the bounds of age and number.

    Args:
        names: names of states, oldest first.
    """
    oldest_ns = now_ns - int(retention.max_age_s * 1e9)
    too_many = max(len(names) - retention.max_states, 0)
    return [name for index, name in enumerate(names) if index < too_many or number_of(name) < oldest_ns]


def number_of(name: str) -> int:
    """Return the number of a state, which grows with time: nanoseconds since 1970, or a little more."""
    return int(name.rpartition("/")[2].partition(".")[0])


def size_bytes(folder: Path) -> int:
    """Return the bytes a repository takes."""
    return sum(path.stat().st_size for path in folder.glob("objects/*/*") if path.is_file())


def _states(git: ShadowGit) -> list[str]:
    """Return the names of all states of agents' work, oldest first."""
    lines = git.run("for-each-ref", "--format=%(refname)", REFS).decode().splitlines()
    names = [line.removeprefix(f"{REFS}/") for line in lines]
    return sorted((name for name in names if name.count("/") == 3), key=number_of)
