"""Resolves and caches the model an agent calls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from syntor.configuration.current import ConfigurationFile
from syntor.configuration.layers import Configuration
from syntor.contracts.errors import ConfigurationError
from syntor.models.chat import ChatModel, ModelError, context_tokens_of
from syntor.models.inference import InferenceConfig, ModelRef
from syntor.models.open_model import open_model

_DEFAULT_ORIGIN = "default"


class ResolvedModel(msgspec.Struct, frozen=True):
    """A model to call, and its name."""

    ref: ModelRef
    model: ChatModel


class ModelResolver:
    """Resolves an agent's model: the run's own, else the configured one, else the manifest's, else the default.

    Opened models are cached; they are reopened when the configuration changes.
    """

    def __init__(
        self, agent_id: str, manifest_model: str, fallbacks: list[str], home: Path, environ: Mapping[str, str]
    ):
        self._agent_id = agent_id
        self._manifest_model = manifest_model
        self._fallbacks = fallbacks
        self.home = home
        self._configuration = ConfigurationFile(home, environ)
        self._opened: dict[tuple[ModelRef, bytes], ChatModel] = {}

    def resolve(self, requested: str) -> ResolvedModel:
        """Return the model of a run.

        Args:
            requested: `provider/name` the run asks for; empty: none in particular.

        Raises:
            ModelError: `configuration`: the configuration or the requested name is invalid.
        """
        try:
            configuration = self._configuration.current()
            config = configuration.inference
            text, origin = configuration.model_for(self._agent_id)
            if origin == _DEFAULT_ORIGIN and self._manifest_model:
                text = self._manifest_model
            ref = ModelRef.parse(requested or text, config.provider)
            fallbacks = [] if requested else config.fallbacks.get(self._agent_id, self._fallbacks)
            return ResolvedModel(ref, self._open(ref, config, fallbacks))
        except ConfigurationError as exc:
            raise ModelError("configuration", str(exc)) from exc

    async def context_tokens(self, resolved: ResolvedModel) -> int:
        """Return the tokens of a model's context: as configured, else as its provider tells; 0: not known."""
        configured = self.configuration().inference.context_tokens
        return int(configured) if configured else await context_tokens_of(resolved.model, resolved.ref.name)

    def configuration(self) -> Configuration:
        """Return the current configuration.

        Raises:
            ModelError: `configuration`: the file is invalid.
        """
        try:
            return self._configuration.current()
        except ConfigurationError as exc:
            raise ModelError("configuration", str(exc)) from exc

    def allowed_in(self, workspace: Path | None) -> list[str]:
        """Return the rules the user always allowed in a folder.

        Raises:
            ModelError: `configuration`: the file with them is invalid.
        """
        try:
            return self._configuration.allowed_in(workspace)
        except ConfigurationError as exc:
            raise ModelError("configuration", str(exc)) from exc

    def _open(self, ref: ModelRef, config: InferenceConfig, fallbacks: list[str]) -> ChatModel:
        key = (ref, msgspec.json.encode((config, fallbacks)))
        if key not in self._opened:
            self._opened[key] = open_model(ref, config, fallbacks)
        return self._opened[key]

    async def close(self) -> None:
        """Close all opened models."""
        for model in self._opened.values():
            await model.close()
