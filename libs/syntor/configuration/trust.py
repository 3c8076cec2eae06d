"""Which project folders the user trusts: their `.syntor` folder is read only then. Kept in `trusted.yaml`."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from syntor.contracts.errors import ConfigurationError

PROJECT_FOLDER = ".syntor"
_FILE = "trusted.yaml"


def find_project(start: Path, home: Path) -> Path | None:
    """Return the nearest folder from `start` upwards that has a `.syntor` folder of its own; None when none has."""
    for folder in (start, *start.parents):
        found = folder / PROJECT_FOLDER
        if found.is_dir() and found.resolve() != home.resolve():
            return folder
    return None


def is_trusted(home: Path, project: Path) -> bool:
    """Whether the user trusts a project folder."""
    return str(project.resolve()) in _trusted(home)


def trust(home: Path, project: Path) -> None:
    """Remember that the user trusts a project folder."""
    folders = sorted({*_trusted(home), str(project.resolve())})
    home.mkdir(parents=True, exist_ok=True)
    temporary = home / f"{_FILE}.{os.getpid()}"
    temporary.write_text(yaml.safe_dump({"trusted": folders}, sort_keys=False), encoding="utf-8")
    temporary.replace(home / _FILE)


def _trusted(home: Path) -> list[str]:
    path = home / _FILE
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigurationError(f"{path}: cannot be read: {exc}; remove it to be asked again") from exc
    folders = read.get("trusted") if isinstance(read, dict) else None
    if not isinstance(folders, list):
        raise ConfigurationError(f"{path}: expected `trusted:` and a list of folders; remove it to be asked again")
    return [str(folder) for folder in folders]
