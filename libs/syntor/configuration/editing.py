"""Changes one key of a config.yaml and leaves the rest, comments too, as it is.

The result is checked as a whole before the file is swapped in, so a file that was readable stays readable.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

from syntor.configuration.document import parse_document, read_document
from syntor.configuration.keys import Setting
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.topology import AGENT_ALIASES
from syntor.runtime.private_files import make_private_folder, private


def set_value(path: Path, name: str, value: Setting) -> None:
    """Write one key, making the file and its folder where they are missing.

    Raises:
        ConfigurationError: the file is wrong already, or cannot be written.
    """
    read_document(path)
    tree = _load(path)
    *stem, last = name.split(".")
    branch = tree
    for part in stem:
        if not isinstance(branch.get(part), dict):
            branch[part] = {}
        branch = branch[part]
    for alias, agent in AGENT_ALIASES.items():
        if agent == last:
            branch.pop(alias, None)  # the same key by another name
    branch[last] = value
    _write(path, tree)


def unset_value(path: Path, name: str) -> bool:
    """Remove one key, and sections left empty by that; False when the file does not set it.

    Raises:
        ConfigurationError: the file is wrong already, or cannot be written.
    """
    if name not in read_document(path):
        return False
    tree = _load(path)
    *stem, last = name.split(".")
    branches = [tree]
    for part in stem:
        branches.append(branches[-1][part])
    for written in [last, *(alias for alias, agent in AGENT_ALIASES.items() if agent == last)]:
        branches[-1].pop(written, None)
    for branch, part in reversed(list(zip(branches, stem, strict=False))):
        if not branch[part]:
            del branch[part]
    _write(path, tree)
    return True


def write_text(path: Path, text: str) -> None:
    """Replace a configuration file by a text that is a valid one.

    Raises:
        ConfigurationError: it is not valid, or cannot be written.
    """
    parse_document(text, str(path))
    try:
        make_private_folder(path.parent)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        with open(temporary, "w", encoding="utf-8", opener=private) as file:
            file.write(text)
        if path.exists():
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        temporary.replace(path)
    except OSError as exc:
        raise ConfigurationError(f"{path}: cannot be written: {exc}") from exc


def _yaml() -> Any:
    from ruamel.yaml import YAML  # here only: keeps comments, but is slow to load

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 1000
    return yaml


def _load(path: Path) -> Any:
    try:
        return _yaml().load(path.read_text(encoding="utf-8-sig")) or {}
    except FileNotFoundError:
        return {}


def _write(path: Path, tree: Any) -> None:
    stream = io.StringIO()
    if tree:
        _yaml().dump(tree, stream)
    write_text(path, stream.getvalue())
