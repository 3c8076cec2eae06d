"""config.yaml as Structs: the one place where a key, its type, default, variable and meaning are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from syntor.contracts.permissions import RULE, RULE_FORM, rule_problem
from syntor.contracts.vocabulary import DEFAULT_MODE, PermissionMode
from syntor.documents import Check, matching
from syntor.models.inference import Provider

AGENT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")  # an agent id is a token of a subject
_URL = re.compile(r"https?://[^\s/]+(/\S*)?\Z")
_PRICE = re.compile(r"\d+(\.\d+)?\Z")
_MAX_MODELS, _MAX_RULES, _MAX_AGENTS = 16, 500, 200
_MAX_TEXT = 1000  # characters of a value


class Variable:
    """Annotation of a field that an environment variable sets; `*` stands for the agent's id in capitals."""

    def __init__(self, name: str) -> None:
        self.name = name


def _check_rule(rule: str, context: Mapping[str, Any]) -> None:
    """Check that a rule names a tool there is."""
    if problem := rule_problem(rule):
        raise ValueError(problem)


Text = Annotated[str, matching(r".*\S", "a text that is not empty", max_length=_MAX_TEXT)]
Url = Annotated[str, matching(_URL, "a URL such as http://127.0.0.1:11434", max_length=_MAX_TEXT)]
Price = Annotated[str, matching(_PRICE, "a number such as 0.25", max_length=_MAX_TEXT)]
Rule = Annotated[str, matching(RULE, RULE_FORM, max_length=_MAX_TEXT), Check(_check_rule)]
AgentId = Annotated[str, matching(AGENT_ID, "an agent's id: lower case letters, digits, '_' or '-', at most 64")]
Models = Annotated[list[Text], Meta(max_length=_MAX_MODELS)]
Rules = Annotated[list[Rule], Meta(max_length=_MAX_RULES)]
TokenCount = Annotated[str, matching(re.compile(r"[1-9]\d{2,8}\Z"), "a number of tokens from 100, such as 32000")]
Share = Annotated[str, matching(re.compile(r"(0?\.\d{1,4}|1|1\.0)\Z"), "a share such as 0.8, at most 1")]


class Section(msgspec.Struct, frozen=True):
    """A mapping in config.yaml."""


class OpenAICompatibleSection(Section, frozen=True):
    """The keys under `inference.openai_compatible`."""

    base_url: Url | None = None
    """Base URL of an OpenAI-compatible server"""
    api_key_env: Text = "OPENAI_API_KEY"
    """Environment variable with its key"""
    input_price: Price | None = None
    """US dollars for a million prompt tokens"""
    output_price: Price | None = None
    """US dollars for a million completion tokens"""


class InferenceSection(Section, frozen=True):
    """The keys under `inference`."""

    provider: Annotated[Provider, Variable("SYNTOR_INFERENCE_PROVIDER")] = "embedded"
    """Where models run"""
    ollama_host: Annotated[Url, Variable("SYNTOR_OLLAMA_HOST")] = "http://127.0.0.1:11434"
    """Address of Ollama"""
    default_model: Annotated[Text | None, Variable("SYNTOR_INFERENCE_MODEL")] = None
    """Model of agents that have none of their own"""
    auto_pull: bool = True
    """Fetch a missing local model when it is first needed"""
    context_tokens: TokenCount | None = None
    """Tokens of the models' context, where the provider does not tell or less should be used"""
    compact_at: Share = "0.8"
    """Share of the context at which earlier turns of a session are summarised"""
    tool_calls: Literal["auto", "native", "json"] = "auto"
    """How models call tools: native, json where a server cannot, or auto"""
    models: Annotated[dict[AgentId, Text], Meta(max_length=_MAX_AGENTS), Variable("SYNTOR_MODEL_*")] = {}
    """Model of one agent"""
    fallbacks: Annotated[dict[AgentId, Models], Meta(max_length=_MAX_AGENTS)] = {}
    """Models to try, in order, when an agent's model fails"""
    openai_compatible: OpenAICompatibleSection = OpenAICompatibleSection()


class PermissionsSection(Section, frozen=True):
    """The keys under `permissions`."""

    mode: Annotated[PermissionMode, Variable("SYNTOR_MODE")] = DEFAULT_MODE
    """What agents do without approval"""
    allow: Rules = []
    """Tool calls that need no approval, such as bash(make *)"""
    ask: Rules = []
    """Tool calls that always need one"""
    deny: Rules = []
    """Tool calls that are refused"""


class SandboxSection(Section, frozen=True):
    """The keys under `sandbox`."""

    network: bool = False
    """Let commands of agents use the network"""


class CliSection(Section, frozen=True):
    """The keys under `cli`."""

    theme: Literal["auto", "dark", "light", "none"] = "auto"
    """Colours of the interactive session"""
    stream_response: bool = True
    """Show a response as it comes"""
    editor: Text | None = None
    """Editor for `syntor config edit` and long input; else $VISUAL, $EDITOR"""
    keys: Literal["emacs", "vi"] = "emacs"
    """Keys of the input line"""
    notify: Literal["none", "bell", "desktop"] = "none"
    """How the end of long work is announced"""


class ConfigDocument(Section, frozen=True):
    """A whole config.yaml."""

    inference: InferenceSection = InferenceSection()
    permissions: PermissionsSection = PermissionsSection()
    sandbox: SandboxSection = SandboxSection()
    cli: CliSection = CliSection()
