"""Which model an agent uses: the `inference` part of the configuration, and references `provider/name`."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import msgspec

from syntor.contracts.errors import ConfigurationError

LocalProvider = Literal["embedded", "ollama", "openai_compatible", "scripted"]
HostedProvider = Literal[
    "anthropic", "openai", "deepseek", "gemini", "mistral", "groq", "xai", "cohere", "openrouter", "together_ai",
    "azure", "bedrock", "vertex_ai", "fireworks_ai", "perplexity", "huggingface", "cerebras", "nvidia_nim",
]  # fmt: skip
Provider = Literal[LocalProvider, HostedProvider]

LOCAL_PROVIDERS: tuple[str, ...] = get_args(LocalProvider)
HOSTED_PROVIDERS: tuple[str, ...] = get_args(HostedProvider)
PROVIDERS = LOCAL_PROVIDERS + HOSTED_PROVIDERS


class ModelRef(NamedTuple):
    """A model of a provider; its text is `provider/name`."""

    provider: str
    name: str

    @classmethod
    def parse(cls, text: str, default_provider: str) -> ModelRef:
        """Read `provider/name`, or a bare name of the default provider.

        A text whose part before the slash is no provider is a name with a slash in it (`Qwen/Qwen2.5-Coder`) where
        the default provider has such names.

        Raises:
            ConfigurationError: the provider is unknown, or there is no name.
        """
        head, slash, name = text.strip().partition("/")
        if slash and head in PROVIDERS:
            ref = cls(head, name)
        elif slash and default_provider not in ("openai_compatible", *HOSTED_PROVIDERS):
            raise ConfigurationError(f"model {text!r}: unknown provider {head!r}; there are {', '.join(PROVIDERS)}")
        else:
            ref = cls(default_provider, text.strip())
        if not ref.name:
            raise ConfigurationError(f"model {text!r}: expected provider/name, such as ollama/mistral:7b")
        if ref.provider not in PROVIDERS:
            raise ConfigurationError(f"unknown provider {ref.provider!r}; there are {', '.join(PROVIDERS)}")
        return ref

    def __str__(self) -> str:
        """Return `provider/name`."""
        return f"{self.provider}/{self.name}"


class OpenAICompatible(msgspec.Struct, frozen=True):
    """An OpenAI-compatible server."""

    base_url: str = ""
    """Up to and including `/v1`."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds its key; unset: no key is sent."""
    input_price: str = ""
    """US dollars for a million tokens of prompts; empty: not known."""
    output_price: str = ""
    """The same for completions."""


class InferenceConfig(msgspec.Struct, frozen=True):
    """The keys under `inference`."""

    provider: str = "embedded"
    ollama_host: str = "http://127.0.0.1:11434"
    default_model: str = ""
    auto_pull: bool = True
    models: dict[str, str] = {}
    """Model of an agent, by agent id."""
    fallbacks: dict[str, list[str]] = {}
    """Models to try in order when an agent's own fails, by agent id."""
    openai_compatible: OpenAICompatible = OpenAICompatible()
    context_tokens: str = ""
    """Tokens of the models' context; empty: what the provider tells."""
    compact_at: str = "0.8"
    """Share of the context at which earlier turns are summarised."""
    tool_calls: str = "auto"
    """native, json (for servers without tool calls), or auto: json for the embedded model, native for others."""
