"""Chooses and keeps the model an agent answers with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from syntor.configuration.current import ConfigurationFile
from syntor.configuration.layers import Configuration
from syntor.contracts.errors import ConfigurationError
from syntor.models.chat import ChatModel, ModelError
from syntor.models.inference import InferenceConfig, ModelRef
from syntor.models.opening import open_model

_DEFAULT_ORIGIN = "default"


class Chosen(msgspec.Struct, frozen=True):
    """A model to ask."""

    ref: ModelRef
    model: ChatModel


class ModelChoice:
    """Resolves an agent's model: the run's own, else as configured, else the manifest's, else the default.

    Opened models are kept; a changed configuration opens them anew.
    """

    def __init__(
        self, agent_id: str, manifest_model: str, fallbacks: list[str], home: Path, environ: Mapping[str, str]
    ):
        self._agent_id = agent_id
        self._manifest_model = manifest_model
        self._fallbacks = fallbacks
        self._configuration = ConfigurationFile(home, environ)
        self._opened: dict[tuple[ModelRef, bytes], ChatModel] = {}

    def choose(self, wanted: str) -> Chosen:
        """Return the model for a run that wants `wanted`, or has no wish when that is empty.

        Raises:
            ModelError: `configuration`: the configuration or the wish is wrong.
        """
        try:
            configuration = self._configuration.current()
            config = configuration.inference
            text, origin = configuration.model_for(self._agent_id)
            if origin == _DEFAULT_ORIGIN and self._manifest_model:
                text = self._manifest_model
            ref = ModelRef.parse(wanted or text, config.provider)
        except ConfigurationError as exc:
            raise ModelError("configuration", str(exc)) from exc
        fallbacks = [] if wanted else config.fallbacks.get(self._agent_id, self._fallbacks)
        return Chosen(ref, self._open(ref, config, fallbacks))

    def configuration(self) -> Configuration:
        """Return the configuration as it is now.

        Raises:
            ModelError: `configuration`: the file is wrong.
        """
        try:
            return self._configuration.current()
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
