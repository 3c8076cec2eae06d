"""Reads one config.yaml into dotted keys, each with its line; every complaint names file, line and reason."""

from __future__ import annotations

from pathlib import Path

import msgspec
import yaml

from syntor.configuration.keys import KEYS, Setting, canonical, find_key, unknown_key, validate
from syntor.contracts.errors import ConfigurationError

_NESTED: dict[str, object] = {}  # stands for what no key can have as its value
_TEXT, _SWITCH, _NULL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"


class Entry(msgspec.Struct, frozen=True):
    """A value and where it stands."""

    value: Setting
    line: int
    """Counted from 1."""


def read_document(path: Path) -> dict[str, Entry]:
    """Return what a configuration file sets, by dotted key; empty when there is no file or nothing in it.

    Raises:
        ConfigurationError: it cannot be read, is not YAML, or has an unknown key or a value of the wrong type.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{path}: cannot be read: {exc}") from exc
    return parse_document(text, str(path))


def parse_document(text: str, where: str) -> dict[str, Entry]:
    """Return what the text of a configuration file sets; `where` is how complaints call the file.

    Raises:
        ConfigurationError: as `read_document`.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        return _entries(root, "", where, loader) if root is not None and root.tag != _NULL else {}
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark is not None else 1
        raise ConfigurationError(f"{where}, line {line}: {exc.problem or exc.context or 'not YAML'}") from exc
    except yaml.YAMLError as exc:
        raise ConfigurationError(f"{where}: not YAML: {exc}") from exc
    finally:
        loader.dispose()


def _entries(node: yaml.Node, stem: str, where: str, loader: yaml.SafeLoader) -> dict[str, Entry]:
    if not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(
            f"{where}, line {_line(node)}: {stem or 'the file'}: expected keys and values, found {_plain(node)!r}"
        )
    found: dict[str, Entry] = {}
    seen: set[str] = set()
    for key_node, value_node in node.value:
        part, line = str(key_node.value), _line(key_node)
        name = canonical(f"{stem}.{part}" if stem else part)
        if name in seen:
            raise ConfigurationError(f'{where}, line {line}: "{name}" is set twice')
        seen.add(name)
        if value_node.tag == _NULL:
            _refuse_unknown(name, where, line)
            continue  # `key:` with nothing behind it sets nothing
        if _is_section(name):
            found |= _entries(value_node, name, where, loader)
            continue
        _refuse_unknown(name, where, line)
        key = find_key(name)
        assert key is not None
        try:
            found[name] = Entry(validate(key, name, _plain(value_node)), line)
        except ConfigurationError as exc:
            raise ConfigurationError(f"{where}, line {line}: {exc}") from exc
    return found


def _refuse_unknown(name: str, where: str, line: int) -> None:
    if find_key(name) is None and not _is_section(name):
        raise ConfigurationError(f"{where}, line {line}: {unknown_key(name)}")


def _is_section(name: str) -> bool:
    return any(key.name.startswith(f"{name}.") for key in KEYS)


def _plain(node: yaml.Node) -> object:
    """Return a node's value; scalars that are neither text nor switch (numbers, dates) as the text they are."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag == _SWITCH:
            return node.value.lower() in ("true", "yes", "on")
        return str(node.value) if node.tag == _TEXT or node.tag.startswith("tag:yaml.org,2002:") else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_plain(part) if isinstance(part, yaml.ScalarNode) else _NESTED for part in node.value]
    return _NESTED


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1
