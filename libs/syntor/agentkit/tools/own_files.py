"""Syntor's own files: its key, tokens, logins and log. No tool of an agent opens them, whatever the workspace is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from syntor.contracts.ceiling import is_inside
from syntor.models.chat import ModelError

_PRIVATE = frozenset(
    ("data", "logs", "run", "nats-keys", "agents", "models", "mcp", "key", "tokens.json", "config.yaml", "mcp.json")
)  # of the home folder; a workspace may be in another folder inside it, never in one of these


def own_folders(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return the home folder, and that of the NATS keys where it is another one; links followed."""
    named = (environ.get("SYNTOR_HOME") or "~/.syntor", environ.get("SYNTOR_NATS_KEYS", ""))
    found = [Path(os.path.realpath(Path(each).expanduser())) for each in named if each]
    return tuple(each for each in found if each.parent != each)


def is_own(path: Path, workspace: Path) -> bool:
    """Return whether a path is Syntor's own: in one of its folders, unless the workspace is inside that one itself.

    Args:
        path: absolute, links followed.
        workspace: likewise.
    """
    return any(path.is_relative_to(own) and not _is_below(workspace, own) for own in own_folders())


def own_inside(workspace: Path) -> list[Path]:
    """Return Syntor's own folders that are inside a workspace, relative to it."""
    return [own.relative_to(workspace) for own in own_folders() if _is_below(own, workspace)]


def usable_workspace(named: str, allowed: Sequence[str] = ()) -> Path | None:
    """Return the workspace of a run, links followed where it is bound to folders; None: it has none.

    Args:
        allowed: folders it must be one of, or inside one of; empty: any.

    Raises:
        ModelError: `configuration`: it is Syntor's own, or leads outside the folders allowed.
    """
    if not named:
        return None
    workspace = Path(os.path.realpath(named))
    for own in own_folders():
        if workspace == own or (_is_below(workspace, own) and workspace.relative_to(own).parts[0] in _PRIVATE):
            raise ModelError("configuration", f"workspace {named} belongs to Syntor itself; use another")
    if not allowed:
        return Path(named)
    if not is_inside(str(workspace), [os.path.realpath(each) for each in allowed]):
        raise ModelError("configuration", f"workspace {named} leads outside the folders this run may use")
    return workspace


def _is_below(path: Path, folder: Path) -> bool:
    return path != folder and path.is_relative_to(folder)
