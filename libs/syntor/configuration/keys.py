"""The keys of config.yaml by dotted path, read off the Structs of `schema`; and the check of a single value.

Keys with a `*` at the end stand for one key an agent: `inference.models.*` is `inference.models.git` and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import msgspec

from syntor.configuration.schema import AGENT_ID, ConfigDocument, Section, Variable
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.topology import AGENT_ALIASES
from syntor.contracts.topology import BUILT_IN_AGENTS as BUILT_IN_AGENTS
from syntor.documents import nearest, value_problem

Setting = str | bool | list[str]
"""What a value can be."""

_OF_AGENTS = ("inference.models", "inference.fallbacks")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class Key(msgspec.Struct, frozen=True):
    """One key."""

    name: str
    """Dotted path."""
    annotation: Any
    """Type of its value, with bounds."""
    default: Setting | None
    """None: not set by default."""
    variable: str
    """Environment variable that sets it; `*` stands for the agent's id in capitals; empty: none."""

    @property
    def is_list(self) -> bool:
        """Return whether its value is a list."""
        return get_origin(get_args(self.annotation)[0] if get_args(self.annotation) else None) is list


def _keys(section: type[Section], stem: str = "") -> Iterator[Key]:
    for field in msgspec.structs.fields(section):
        annotation: Any = field.type
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from _keys(annotation, f"{stem}{field.name}.")
            continue
        kind, extras = _parts(annotation)
        variable = next((each.name for each in extras if isinstance(each, Variable)), "")
        if get_origin(kind) is dict:
            yield Key(f"{stem}{field.name}.*", get_args(kind)[1], None, variable)
        else:
            default = None if field.default is msgspec.NODEFAULT else field.default  # that of a list is a factory
            yield Key(f"{stem}{field.name}", annotation, default, variable)


def _parts(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type and what annotates it."""
    if get_origin(annotation) is not Annotated:
        return annotation, ()
    kind, *extras = get_args(annotation)
    return kind, tuple(extras)


KEYS: tuple[Key, ...] = tuple(_keys(ConfigDocument))


def find_key(name: str) -> Key | None:
    """Return the key a dotted path belongs to; None when there is none."""
    for key in KEYS:
        if key.name == name:
            return key
        stem, star, _ = key.name.partition("*")
        if star and name.startswith(stem) and AGENT_ID.match(name[len(stem) :]):
            return key
    return None


def is_known(name: str) -> bool:
    """Return whether a dotted path is that of a key, of a section, or of an agent's setting whatever its id."""
    if find_key(name) is not None or name.rpartition(".")[0] in _OF_AGENTS:
        return True
    return any(key.name.startswith(f"{name}.") for key in KEYS)


def canonical(name: str) -> str:
    """Return a dotted path with an agent's alias replaced by its id."""
    stem, _, last = name.rpartition(".")
    return f"{stem}.{AGENT_ALIASES.get(last, last)}" if stem in _OF_AGENTS else name


def all_names() -> list[str]:
    """Return every key by its full path, those for agents once for each built-in agent."""
    names: list[str] = []
    for key in KEYS:
        stem, star, _ = key.name.partition("*")
        names += [stem + agent for agent in BUILT_IN_AGENTS] if star else [key.name]
    return names


def unknown_key(name: str) -> str:
    """Return the sentence that refuses an unknown key and names near ones."""
    if near := nearest(name, all_names()):
        return f'unknown key "{name}": {near}'
    return f'unknown key "{name}"; keys are {", ".join(key.name.replace("*", "<agent>") for key in KEYS)}'


def parse(key: Key, name: str, text: str) -> Setting:
    """Return the value of a text from the command line or the environment.

    Raises:
        ConfigurationError: it is not a value of this key; names key, value and what is allowed.
    """
    value: Setting = text.strip()
    try:
        if isinstance(key.default, bool) and text.strip().lower() in _TRUE + _FALSE:
            value = text.strip().lower() in _TRUE
        elif key.is_list:
            value = [part.strip() for part in text.split(",") if part.strip()]
        found: Setting = msgspec.convert(value, key.annotation)
    except msgspec.ValidationError as exc:
        raise ConfigurationError(f"{name}: {value_problem(value, key.annotation) or exc}") from exc
    return found
