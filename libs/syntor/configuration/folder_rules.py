"""Permission rules that always allow calls in one folder. Kept in `folders.yaml` of the home folder.

They are outside the folder itself, where an agent could write them. They hold in the folder and in those below it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import yaml

from syntor.contracts.bounds import Rules
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.permissions import rule_problem
from syntor.runtime.private_files import make_private_folder, private

FILE = "folders.yaml"


class FolderRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules of one folder."""

    allow: Rules = []
    """Tool calls that need no approval there."""


def allowed_in(home: Path, folder: Path | None) -> list[tuple[str, str]]:
    """Return the rules that hold in a folder, each with the folder they were approved for; empty without a folder.

    Raises:
        ConfigurationError: the file cannot be read, or holds something else than rules.
    """
    if folder is None:
        return []
    here = folder.resolve()
    return [
        (rule, known)
        for known, rules in _read(home).items()
        if here == Path(known) or here.is_relative_to(known)
        for rule in rules.allow
    ]


def allow_in(home: Path, folder: Path, rule: str) -> Path:
    """Add a rule to those of a folder; return the file.

    Raises:
        ConfigurationError: the file cannot be read or written, or the rule is none.
    """
    if problem := rule_problem(rule):
        raise ConfigurationError(problem)
    known, name, path = _read(home), str(folder.resolve()), home / FILE
    rules = known.get(name, FolderRules()).allow
    known[name] = FolderRules([*rules, *([] if rule in rules else [rule])])
    make_private_folder(home)
    temporary = home / f"{FILE}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8", opener=private) as file:
        yaml.safe_dump(msgspec.to_builtins(known), file, allow_unicode=True)
    temporary.replace(path)
    return path


def _read(home: Path) -> dict[str, FolderRules]:
    path = home / FILE
    try:
        read: object = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = msgspec.convert({} if read is None else read, dict[str, FolderRules])
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as exc:
        raise ConfigurationError(f"{path}: {exc}; expected folders, each with `allow` and a list of rules") from exc
    for folder, rules in found.items():
        for rule in rules.allow:
            if problem := rule_problem(rule):
                raise ConfigurationError(f"{path}: {folder}: {problem}")
    return found
