"""Which project folders the user trusts: their `.syntor` folder is read only then. Kept in `trusted.yaml`."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

import msgspec
import yaml

from syntor.contracts.errors import ConfigurationError
from syntor.runtime.private_files import make_private_folder, private

PROJECT_FOLDER = ".syntor"
_FILE = "trusted.yaml"


class Trust(StrEnum):
    """The user's decision on a folder."""

    TRUSTED = "trusted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


def find_project(start: Path, home: Path) -> Path | None:
    """Return the nearest folder from `start` upwards that has a `.syntor` folder; None when none has.

    The home folder of Syntor itself, usually `~/.syntor`, makes no project of the folder it is in.
    """
    for folder in (start, *start.parents):
        found = folder / PROJECT_FOLDER
        if found.is_dir() and found.resolve() != home.resolve():
            return folder
    return None


def trust_of(home: Path, project: Path) -> Trust:
    """Return the user's decision on a project folder.

    Raises:
        ConfigurationError: the file of decisions cannot be read.
    """
    text = _decisions(home).get(str(project.resolve()), "")
    return Trust(text) if text in tuple(Trust) else Trust.UNKNOWN


def trusted_projects(home: Path) -> list[Path]:
    """Return the project folders the user trusts, by path.

    Raises:
        ConfigurationError: the file of decisions cannot be read.
    """
    return [Path(folder) for folder, decision in sorted(_decisions(home).items()) if decision == Trust.TRUSTED]


def manifest_files(home: Path) -> list[Path]:
    """Return the manifests people wrote: those of the home folder, then those of trusted projects.

    Raises:
        ConfigurationError: the file of decisions cannot be read.
    """
    folders = [home / "agents"]
    folders += [project / PROJECT_FOLDER / "agents" for project in trusted_projects(home)]
    return [path for folder in folders for path in sorted(folder.glob("*.yaml"))]


def remember(home: Path, project: Path, decision: Trust) -> None:
    """Store the user's decision on a project folder."""
    decisions = _decisions(home) | {str(project.resolve()): decision.value}
    make_private_folder(home)
    temporary = home / f"{_FILE}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8", opener=private) as file:
        yaml.safe_dump(decisions, file, allow_unicode=True)
    temporary.replace(home / _FILE)


def _decisions(home: Path) -> dict[str, str]:
    path = home / _FILE
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigurationError(f"{path}: cannot be read: {exc}; remove it to decide again") from exc
    try:
        return msgspec.convert(read, dict[str, str])
    except msgspec.ValidationError as exc:
        raise ConfigurationError(
            f"{path}: expected a folder and its decision on each line; remove it to decide again"
        ) from exc
