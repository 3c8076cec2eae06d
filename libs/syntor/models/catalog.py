"""Known models: names, sizes, what they are good for, and which one an agent has by default."""

from __future__ import annotations

import msgspec


class KnownModel(msgspec.Struct, frozen=True):
    """A model Syntor knows something about; others work as well."""

    name: str
    provider: str
    parameters: str
    description: str


KNOWN_MODELS: tuple[KnownModel, ...] = (
    KnownModel("qwen2.5-coder:1.5b", "embedded", "1.5B", "built in, the default: runs on any laptop"),
    KnownModel("qwen2.5-coder:0.5b", "embedded", "0.5B", "built in, for small machines and tests"),
    KnownModel("smollm2:135m", "embedded", "135M", "built in, smoke tests only: its completions are of no use"),
    KnownModel("mistral:7b", "ollama", "7B", "general conversation, routes well"),
    KnownModel("deepseek-coder-v2:16b", "ollama", "16B", "explains and documents code"),
    KnownModel("llama3.2:8b", "ollama", "8B", "commit messages and summaries"),
    KnownModel("llama3.2:3b", "ollama", "3B", "quick small tasks"),
    KnownModel("qwen2.5-coder:7b", "ollama", "7B", "writes and edits code"),
    KnownModel("claude-sonnet-4-5", "anthropic", "-", "hosted; needs ANTHROPIC_API_KEY"),
    KnownModel("gpt-5-mini", "openai", "-", "hosted; needs OPENAI_API_KEY"),
    KnownModel("deepseek-chat", "deepseek", "-", "hosted; needs DEEPSEEK_API_KEY"),
    KnownModel("echo", "scripted", "-", "rules of SYNTOR_SCRIPT, or the input word by word; for tests and demos"),
)

API_KEYS: dict[str, str] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "groq": "GROQ_API_KEY",
}
"""Environment variable with the key of a hosted provider; others are `<PROVIDER>_API_KEY`."""

_OLLAMA = {
    "coordination": "mistral:7b",
    "documentation": "deepseek-coder-v2:16b",
    "git": "llama3.2:8b",
    "worker": "llama3.2:3b",
    "worker_code": "qwen2.5-coder:7b",
}
_DEFAULTS = {
    "embedded": "qwen2.5-coder:1.5b",
    "anthropic": "claude-sonnet-4-5",
    "openai": "gpt-5-mini",
    "deepseek": "deepseek-chat",
    "scripted": "echo",
    "openai_compatible": "default",
}


def default_model(provider: str, agent: str) -> str:
    """Return the model an agent has with a provider when none is configured, as `provider/name`."""
    if provider == "ollama":
        return f"ollama/{_OLLAMA.get(agent, _OLLAMA['worker'])}"
    return f"{provider}/{_DEFAULTS.get(provider, 'default')}"
