"""The configuration of commands: includes the layer of the project folder once the user trusts that folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from syntor.configuration import Configuration, load_configuration
from syntor.configuration.trust import PROJECT_FOLDER, Trust, find_project, remember, trust_of
from syntor.stack.layout import home_folder


def trusted_project(home: Path, *, ask: bool = True) -> Path | None:
    """Return the project folder around the working folder if the user trusts it; None when there is none.

    Args:
        ask: prompt the user once if there is a terminal; else print how to trust the folder.
    """
    project = find_project(Path.cwd(), home)
    if project is None:
        return None
    known = trust_of(home, project)
    if known is Trust.UNKNOWN and ask:
        if sys.stdin.isatty() and sys.stderr.isatty():
            known = Trust.TRUSTED if _agreed(project) else Trust.REFUSED
            remember(home, project, known)
        else:
            folder = project / PROJECT_FOLDER
            sys.stderr.write(f"note: {folder} is not used until you trust it: syntor config trust {project}\n")
    return project if known is Trust.TRUSTED else None


def configuration(overrides: Mapping[str, str] | None = None, *, ask: bool = True) -> Configuration:
    """Return the effective configuration: all layers.

    Raises:
        ConfigurationError: a layer is invalid.
    """
    home = home_folder(os.environ)
    return load_configuration(home, trusted_project(home, ask=ask), os.environ, overrides or {})


def _agreed(project: Path) -> bool:
    sys.stderr.write(
        f"{project} has a {PROJECT_FOLDER} folder: configuration and commands that come with the project and decide "
        "what models see and agents do.\nTrust it? [y/N] "
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
