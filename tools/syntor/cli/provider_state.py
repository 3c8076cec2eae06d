"""State of the model providers: reachability, models and API keys."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import msgspec

from syntor.cli.http_get import get
from syntor.configuration import Configuration
from syntor.models.catalog import API_KEYS, KNOWN_MODELS
from syntor.models.inference import ModelRef
from syntor.models.weights import is_installed

EMBEDDED, OLLAMA, COMPATIBLE, SCRIPTED = "embedded", "ollama", "openai_compatible", "scripted"
_TIMEOUT_S = 2.0


def embedded_models() -> list[str]:
    """Return the names of the models that can run on this machine without anything else."""
    return [model.name for model in KNOWN_MODELS if model.provider == EMBEDDED]


class _Tag(msgspec.Struct):
    name: str


class _Tags(msgspec.Struct):
    models: list[_Tag] = []


class Provider(msgspec.Struct, frozen=True):
    """Current state of one provider."""

    name: str
    usable: bool
    detail: str
    """Text for users: address, number of models, or what is missing."""
    models: list[str] = []
    """Names of installed models; empty for a hosted provider."""


class Providers:
    """All providers, each checked once, on first use."""

    def __init__(self, home: Path, configuration: Configuration, environ: Mapping[str, str]) -> None:
        self._home = home
        self._configuration = configuration
        self._environ = environ
        self._checked: dict[str, Provider] = {}

    def names(self) -> list[str]:
        """Return the names of all providers, those without prerequisites first."""
        return [EMBEDDED, OLLAMA, COMPATIBLE, *API_KEYS, SCRIPTED]

    def get(self, name: str) -> Provider:
        """Check a provider; one that is not handled here belongs to LiteLLM."""
        if name not in self._checked:
            self._checked[name] = self._check(name)
        return self._checked[name]

    def status(self, model: str) -> str:
        """Return the status of a model `provider/name`: ready, not pulled, offline, api or unknown."""
        ref = ModelRef.parse(model, "")
        provider = self.get(ref.provider)
        match ref.provider:
            case "scripted":
                return "ready"
            case "embedded" | "ollama":
                if ref.name in provider.models or f"{ref.name}:latest" in provider.models:
                    return "ready"
                known = ref.provider == OLLAMA or ref.name in embedded_models()
                return "offline" if not provider.usable else "not pulled" if known else "unknown"
            case _:
                return "api" if provider.usable else "unknown"

    def _check(self, name: str) -> Provider:
        match name:
            case "embedded":
                return self._embedded()
            case "ollama":
                return self._ollama()
            case "openai_compatible":
                return self._compatible()
            case "scripted":
                script = self._environ.get("SYNTOR_SCRIPT", "")
                return Provider(name, True, script or "for tests and demos: repeats the input")
            case _:
                return self._hosted(name)

    def _embedded(self) -> Provider:
        installed = [name for name in embedded_models() if is_installed(self._home, name)]
        if find_spec("xllamacpp") is None:
            return Provider(EMBEDDED, False, 'its engine is not installed: pip install "syntor[embedded]"', installed)
        return Provider(EMBEDDED, True, f"runs on this machine; {_counted(installed)}", installed)

    def _ollama(self) -> Provider:
        host = self._configuration.inference.ollama_host
        status, body = get(f"{host.rstrip('/')}/api/tags", _TIMEOUT_S)
        if status != 200:
            return Provider(OLLAMA, False, f"not reachable at {host}: start it with: ollama serve")
        models = [tag.name for tag in msgspec.json.decode(body, type=_Tags).models]
        return Provider(OLLAMA, True, f"{host}; {_counted(models)}", models)

    def _compatible(self) -> Provider:
        found = self._configuration.inference.openai_compatible
        if not found.base_url:
            return Provider(COMPATIBLE, False, "inference.openai_compatible.base_url is not set")
        key = "its key is set" if self._environ.get(found.api_key_env) else f"{found.api_key_env} is not set"
        return Provider(COMPATIBLE, True, f"{found.base_url}; {key}")

    def _hosted(self, name: str) -> Provider:
        variable = API_KEYS.get(name, f"{name.upper()}_API_KEY")
        if not self._environ.get(variable):
            return Provider(name, False, f"{variable} is not set")
        if find_spec("litellm") is None:
            return Provider(name, False, f'{variable} is set, but pip install "syntor[litellm]" is needed')
        return Provider(name, True, f"{variable} is set")


def _counted(models: list[str]) -> str:
    return f"{len(models)} model{'' if len(models) == 1 else 's'}"
