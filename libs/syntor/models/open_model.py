"""Opens the model of a reference; each provider's code is loaded on first use."""

from __future__ import annotations

from syntor.contracts.errors import ConfigurationError
from syntor.models.chat import ChatModel, ModelError
from syntor.models.fallback import FallbackModel
from syntor.models.guard import GUARDS, GuardedModel
from syntor.models.inference import InferenceConfig, ModelRef

_WITHOUT_ENDPOINT = ("scripted",)
_WITHOUT_NATIVE_CALLS = ("embedded",)  # small models write native calls too often as prose


def open_model(ref: ModelRef, config: InferenceConfig, fallbacks: list[str] | None = None) -> ChatModel:
    """Return the model of a reference, with what to try when it fails.

    Raises:
        ModelError: `configuration`: a reference or the provider's settings are wrong.
    """
    try:
        refs = [ref, *(ModelRef.parse(text, config.provider) for text in fallbacks or [])]
    except ConfigurationError as exc:
        raise ModelError("configuration", str(exc)) from exc
    models = [(each, _with_tools(each, config)) for each in refs]
    return models[0][1] if len(models) == 1 else FallbackModel(models)


def _with_tools(ref: ModelRef, config: InferenceConfig) -> ChatModel:
    model = _open(ref, config)
    if ref.provider not in _WITHOUT_ENDPOINT:
        model = GuardedModel(model, GUARDS.of(ref.provider, _address(ref, config)))
    if config.tool_calls == "json" or (config.tool_calls == "auto" and ref.provider in _WITHOUT_NATIVE_CALLS):
        from syntor.models.json_tools import JsonToolsModel

        return JsonToolsModel(model)
    return model


def _address(ref: ModelRef, config: InferenceConfig) -> str:
    """Return where calls to a model go; empty: the provider's own address."""
    match ref.provider:
        case "openai_compatible":
            return config.openai_compatible.base_url
        case "ollama":
            return config.ollama_host
        case "embedded":
            return f"//{ref.name}"  # each has a server of its own
        case _:
            return ""


def _open(ref: ModelRef, config: InferenceConfig) -> ChatModel:
    match ref.provider:
        case "scripted":
            from syntor.models.scripted import ScriptedModel

            return ScriptedModel()
        case "openai_compatible":
            from syntor.models.openai_compatible import configured

            return configured(config.openai_compatible)
        case "ollama":
            from syntor.models.ollama import OllamaModel

            return OllamaModel(config.ollama_host, auto_pull=config.auto_pull)
        case "embedded":
            from syntor.models.embedded import EmbeddedModel

            return EmbeddedModel(ref.name, auto_pull=config.auto_pull)
        case _:
            from syntor.models.litellm import LiteLLMModel

            return LiteLLMModel(ref.provider)
