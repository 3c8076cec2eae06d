"""Resolves the paths a tool call names, and describes the call to the policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from syntor.agentkit.domain.path_names import quoted, unquoted
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.domain.tool_policy import PathArgument, ProposedCall
from syntor.agentkit.tools.own_files import is_own
from syntor.agentkit.tools.tool import Tool


def resolve(workspace: Path, path: str) -> Path | None:
    """Return where a path leads, links followed; None when that is outside the workspace."""
    try:
        real = (workspace / path).resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    return real if real.is_relative_to(workspace.resolve()) else None


def inside(workspace: Path, path: str) -> Path:
    """Return where a path leads, resolved again just before use: a link may have changed since the policy's decision.

    Raises:
        ToolError: it leads outside the workspace, or to a file of Syntor itself.
    """
    real = resolve(workspace, path)
    if real is None:
        raise ToolError(f"{quoted(path)} is outside the workspace")
    if is_own(real, workspace.resolve()):
        raise ToolError(f"{quoted(path)} belongs to Syntor itself")
    return real


def proposed_call(
    tool: Tool, arguments: Any, workspace: Path | None, staged_secrets: tuple[str, ...] = ()
) -> ProposedCall:
    """Return a call as the policy sees it."""
    paths = () if workspace is None else tuple(_argument(workspace, path) for path in tool.paths(arguments))
    return ProposedCall(
        tool=tool.name,
        effect=tool.effect,
        subject=tool.subject(arguments),
        risk=tool.risk(arguments),
        paths=paths,
        has_workspace=workspace is not None,
        staged_secrets=staged_secrets,
    )


def _argument(workspace: Path, path: str) -> PathArgument:
    real = resolve(workspace, unquoted(path))
    if real is None:
        return PathArgument(path, None, None)
    root = workspace.resolve()
    return PathArgument(path, real, real.relative_to(root), is_own=is_own(real, root))
