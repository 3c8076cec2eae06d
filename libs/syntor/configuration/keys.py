"""The keys of config.yaml as data: type, default, environment variable, meaning; and the check of a value.

Keys with a `*` at the end stand for one key an agent: `inference.models.*` is `inference.models.git` and so on.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import cast

import msgspec

from syntor.contracts.errors import ConfigurationError
from syntor.contracts.permissions import MODES, RULE, RULE_FORM
from syntor.models.inference import PROVIDERS

Setting = str | bool | list[str]
"""What a value can be."""

BUILT_IN_AGENTS = ("coordination", "documentation", "git", "worker", "worker_code")
ALIASES = {"coord": "coordination", "docs": "documentation", "code": "worker_code"}
THEMES = ("auto", "dark", "light", "none")
_AGENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")  # an agent id is a token of a subject
_URL = re.compile(r"https?://[^\s/]+(/\S*)?\Z")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class Key(msgspec.Struct, frozen=True):
    """One key."""

    name: str
    """Dotted path."""
    kind: str
    """text, switch or list."""
    default: Setting | None
    """None: not set unless somebody sets it."""
    description: str
    variable: str = ""
    """Environment variable that sets it; `*` stands for the agent's id in capitals."""
    check: Callable[[str], str | None] | None = None
    """Says what is expected when a text is not it."""


def _one_of(*names: str) -> Callable[[str], str | None]:
    return lambda text: None if text in names else f"one of {', '.join(names)}"


def _matching(pattern: re.Pattern[str], expected: str) -> Callable[[str], str | None]:
    return lambda text: None if pattern.match(text) else expected


_url = _matching(_URL, "a URL such as http://127.0.0.1:11434")
_provider = _one_of(*PROVIDERS)
_price = _matching(re.compile(r"\d+(\.\d+)?\Z"), "a number such as 0.25")
_rule = _matching(RULE, RULE_FORM)

KEYS: tuple[Key, ...] = (
    Key("inference.provider", "text", "embedded", "Where models run", "SYNTOR_INFERENCE_PROVIDER", _provider),
    Key("inference.ollama_host", "text", "http://127.0.0.1:11434", "Address of Ollama", "SYNTOR_OLLAMA_HOST", _url),
    Key(
        "inference.default_model", "text", None, "Model of agents that have none of their own", "SYNTOR_INFERENCE_MODEL"
    ),
    Key("inference.auto_pull", "switch", True, "Fetch a missing local model when it is first needed"),
    Key(
        "inference.tool_calls",
        "text",
        "auto",
        "How models call tools: native, json where a server cannot, or auto",
        "",
        _one_of("auto", "native", "json"),
    ),
    Key("inference.models.*", "text", None, "Model of one agent", "SYNTOR_MODEL_*"),
    Key("inference.fallbacks.*", "list", None, "Models to try, in order, when an agent's model fails"),
    Key("inference.openai_compatible.base_url", "text", None, "Base URL of an OpenAI-compatible server", "", _url),
    Key("inference.openai_compatible.api_key_env", "text", "OPENAI_API_KEY", "Environment variable with its key"),
    Key("inference.openai_compatible.input_price", "text", None, "US dollars for a million prompt tokens", "", _price),
    Key("inference.openai_compatible.output_price", "text", None, "US dollars for a million answer tokens", "", _price),
    Key("permissions.mode", "text", "ask", "What agents do without asking", "SYNTOR_MODE", _one_of(*MODES)),
    Key("permissions.allow", "list", None, "Tool calls that need no approval, such as bash(make *)", "", _rule),
    Key("permissions.ask", "list", None, "Tool calls that always need one", "", _rule),
    Key("permissions.deny", "list", None, "Tool calls that are refused", "", _rule),
    Key("sandbox.network", "switch", False, "Let commands of agents use the network"),
    Key("cli.theme", "text", "auto", "Colours of the interactive session", "", _one_of(*THEMES)),
    Key("cli.stream_response", "switch", True, "Show an answer as it comes"),
    Key("cli.editor", "text", None, "Editor for `syntor config edit` and long input; else $VISUAL, $EDITOR"),
)


def find_key(name: str) -> Key | None:
    """Return the key a dotted path belongs to; None when there is none."""
    for key in KEYS:
        if key.name == name:
            return key
        stem, star, _ = key.name.partition("*")
        if star and name.startswith(stem) and _AGENT.match(name[len(stem) :]):
            return key
    return None


def canonical(name: str) -> str:
    """Return a dotted path with an agent's alias replaced by its id."""
    stem, _, last = name.rpartition(".")
    return f"{stem}.{ALIASES.get(last, last)}" if stem in ("inference.models", "inference.fallbacks") else name


def near(name: str) -> list[str]:
    """Return the keys a mistyped path may have meant, best first."""
    return difflib.get_close_matches(name, all_names(), n=3, cutoff=0.7)


def all_names() -> list[str]:
    """Return every key by its full path, those for agents once for each built-in agent."""
    names: list[str] = []
    for key in KEYS:
        stem, star, _ = key.name.partition("*")
        names += [stem + agent for agent in BUILT_IN_AGENTS] if star else [key.name]
    return names


def unknown_key(name: str) -> str:
    """Return the sentence that refuses an unknown key and names near ones."""
    found = near(name)
    if found:
        return f'unknown key "{name}": did you mean {" or ".join(found)}?'
    return f'unknown key "{name}"; keys are {", ".join(key.name.replace("*", "<agent>") for key in KEYS)}'


def parse(key: Key, name: str, text: str) -> Setting:
    """Return the value a text from the command line or the environment stands for.

    Raises:
        ConfigurationError: it is not one; names key, value and what is expected.
    """
    value: Setting = text.strip()
    if key.kind == "switch":
        lowered = text.strip().lower()
        if lowered not in _TRUE + _FALSE:
            raise ConfigurationError(f"{name}: {text!r} is not true or false")
        value = lowered in _TRUE
    elif key.kind == "list":
        value = [part.strip() for part in text.split(",") if part.strip()]
    return validate(key, name, value)


def validate(key: Key, name: str, value: object) -> Setting:
    """Return the value if it is one this key can have.

    Raises:
        ConfigurationError: it is not; names key, value and what is expected.
    """
    match key.kind, value:
        case "switch", bool():
            return value
        case "list", list():
            parts = cast("list[object]", value)
            if all(isinstance(part, str) and part for part in parts):
                return [str(part) for part in parts]
        case "text", str() if value.strip():
            expected = key.check(value) if key.check is not None else None
            if expected is None:
                return value
            raise ConfigurationError(f"{name}: {value!r} is not {expected}")
        case _:
            pass
    kinds = {"switch": "true or false", "list": "a list of models, each a text", "text": "a text that is not empty"}
    raise ConfigurationError(f"{name}: {value!r} is not {kinds[key.kind]}")
