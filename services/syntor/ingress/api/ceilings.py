"""The most a run may do: of its caller's token, of the server, and of the run it repeats.

A request above it is refused, never lowered silently; what a request leaves open is bound by the ceiling in the event,
which agents apply to what is configured where they run.
"""

from __future__ import annotations

import os

import msgspec

from syntor.contracts.ceiling import NO_CEILING, ORDER, combined, is_inside
from syntor.contracts.run.v1 import Ceiling, UserInput
from syntor.ingress.http.errors import ForbiddenError


def limited(first: UserInput, of_token: Ceiling | None, of_server: Ceiling, caller: str) -> UserInput:
    """Return the first event of a run with its ceiling.

    Raises:
        ForbiddenError: mode, rules or workspace are above it; names the ceiling.
    """
    ceiling = combined((of_server, of_token, first.ceiling))
    if ceiling == NO_CEILING:
        return first
    permissions = first.permissions
    if permissions is not None:
        if permissions.mode is not None and ORDER.index(permissions.mode) > ORDER.index(ceiling.max_mode):
            raise ForbiddenError(f"mode {permissions.mode} is above {ceiling.max_mode}, the highest of {caller!r} here")
        if permissions.allow and ceiling.max_mode != "auto":
            raise ForbiddenError(
                f"permissions.allow widens mode {ceiling.max_mode}, the highest of {caller!r} here; leave it out"
            )
    if first.workspace and ceiling.workspaces:
        folder = os.path.realpath(first.workspace)
        if not is_inside(folder, ceiling.workspaces):
            raise ForbiddenError(
                f"workspace {first.workspace!r} is outside the folders {caller!r} may use here: "
                f"{', '.join(ceiling.workspaces)}"
            )
        first = msgspec.structs.replace(first, workspace=folder)
    return msgspec.structs.replace(first, ceiling=ceiling)
