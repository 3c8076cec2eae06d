"""Puts the layers of the configuration together; a later one wins, key by key.

Layers: default, user (config.yaml of the home folder), project (.syntor/config.yaml of a trusted folder),
environment, flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from syntor.configuration.document import read_document
from syntor.configuration.keys import KEYS, Key, Setting, canonical, find_key, parse, unknown_key
from syntor.configuration.schema import CliSection, PermissionsSection, SandboxSection
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.topology import AGENT_ALIASES
from syntor.models.catalog import default_model
from syntor.models.inference import InferenceConfig, ModelRef

LAYERS = ("default", "user", "project", "environment", "flag")


class Value(msgspec.Struct, frozen=True):
    """A value in force and the layer that set it."""

    value: Setting
    layer: str
    """default, user, project, environment or flag."""
    where: str
    """File and line, variable, or flag; empty for a default."""

    @property
    def origin(self) -> str:
        """Return layer and place in one text."""
        return f"{self.layer} ({self.where})" if self.where else self.layer


class Configuration:
    """All layers together."""

    def __init__(self, layers: Mapping[str, Mapping[str, Value]]) -> None:
        self._layers = layers
        self.values: dict[str, Value] = {}
        for layer in LAYERS:
            self.values |= layers.get(layer, {})

    def get(self, name: str) -> Value | None:
        """Return a key's value in force; None when no layer sets it."""
        return self.values.get(canonical(name))

    @property
    def inference(self) -> InferenceConfig:
        """Return the keys under `inference`, as libs/syntor/models reads them."""
        return msgspec.convert(self._section("inference"), InferenceConfig)

    @property
    def cli(self) -> CliSection:
        """Return the keys under `cli`."""
        return msgspec.convert(self._section("cli"), CliSection)

    @property
    def permissions(self) -> PermissionsSection:
        """Return the keys under `permissions`."""
        return msgspec.convert(self._section("permissions"), PermissionsSection)

    @property
    def sandbox(self) -> SandboxSection:
        """Return the keys under `sandbox`."""
        return msgspec.convert(self._section("sandbox"), SandboxSection)

    def model_for(self, agent_id: str) -> tuple[str, str]:
        """Return an agent's model as `provider/name`, and the layer and place that decide it.

        The last layer that sets the agent's model decides: within a layer the agent's own model
        comes before the default model, and that before a change of provider, which means that provider's default.

        Raises:
            ConfigurationError: the model that decides is of no known provider.
        """
        agent = AGENT_ALIASES.get(agent_id, agent_id)
        provider = str(self.values["inference.provider"].value)
        for layer in reversed(LAYERS):
            found = self._layers.get(layer, {})
            for name in (f"inference.models.{agent}", "inference.default_model"):
                if name in found:
                    return _full(name, found[name], provider), found[name].origin
            if "inference.provider" in found and self._changes_provider(layer):
                return default_model(provider, agent), found["inference.provider"].origin
        return default_model(provider, agent), "default"

    def _changes_provider(self, layer: str) -> bool:
        """Return whether the provider a layer names differs from the one in force below it."""
        below = [self._layers.get(lower, {}).get("inference.provider") for lower in LAYERS[: LAYERS.index(layer)]]
        named = [value for value in below if value is not None]
        return not named or named[-1].value != self._layers[layer]["inference.provider"].value

    def _section(self, section: str) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for name, found in self.values.items():
            first, *path, last = name.split(".")
            if first == section:
                branch = tree
                for part in path:
                    branch = branch.setdefault(part, {})
                branch[last] = found.value
        return tree


def load_configuration(
    home: Path, project: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str]
) -> Configuration:
    """Read all layers.

    Args:
        project: folder that holds `.syntor/config.yaml`, if it is trusted; None: no project layer.
        overrides: dotted key to text, from flags.

    Raises:
        ConfigurationError: a file, variable or flag is wrong; names it, the value and what is expected.
    """
    layers: dict[str, dict[str, Value]] = {
        "default": {key.name: Value(key.default, "default", "") for key in KEYS if key.default is not None},
        "user": _file(home / "config.yaml", "user"),
        "environment": _environment(environ),
        "flag": {},
    }
    if project is not None:
        layers["project"] = _file(project / ".syntor" / "config.yaml", "project")
    for name, text in overrides.items():
        key = find_key(canonical(name))
        if key is None:
            raise ConfigurationError(unknown_key(name))
        layers["flag"][canonical(name)] = Value(parse(key, name, text), "flag", name)
    return Configuration(layers)


def _file(path: Path, layer: str) -> dict[str, Value]:
    return {
        name: Value(entry.value, layer, f"{path}, line {entry.line}") for name, entry in read_document(path).items()
    }


def _environment(environ: Mapping[str, str]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for key in KEYS:
        stem, star, _ = key.variable.partition("*")
        names = [name for name in environ if name.startswith(stem)] if star else [key.variable]
        for variable in names:
            if key.variable and environ.get(variable, "").strip():
                name = _key_of(key, variable, stem) if star else key.name
                if name:
                    found[name] = Value(parse(key, variable, environ[variable]), "environment", variable)
    return found


def _key_of(key: Key, variable: str, stem: str) -> str:
    """Return the dotted key of a variable such as SYNTOR_MODEL_GIT; empty for one that only looks like it."""
    if variable in NOT_AGENTS:
        return ""
    return canonical(key.name.replace("*", variable.removeprefix(stem).lower()))


NOT_AGENTS = frozenset({"SYNTOR_MODEL_MIRROR"})  # where models are fetched from


def _full(name: str, found: Value, provider: str) -> str:
    """Return a model as `provider/name`, the provider in force filled in where it names none."""
    try:
        return str(ModelRef.parse(str(found.value), provider))
    except ConfigurationError as exc:
        raise ConfigurationError(f"{name}, {found.origin}: {exc}") from exc
