"""Asks a provider how long a model's context is, in each of the forms that servers have for it.

An answer is kept as long as the model is open; a server that does not answer is queried later.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httpx2
import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.runtime.proxies import trusts_environment

TIMEOUT_S = 5.0
REPEAT_AFTER_S = 60.0  # after an answer without a length
MAX_LENGTH = 100_000_000  # tokens; more is no length
OLLAMA_DEFAULT = 4096  # what Ollama gives a model that sets no num_ctx, until it has loaded it and tells
_NAMES = ("max_model_len", "context_length", "context_window", "max_context_length", "n_ctx")

Tree = dict[str, Any]


class ContextLength:
    """The context lengths of one server's models."""

    def __init__(self, read: Callable[[httpx2.AsyncClient, str], Awaitable[int]], url: str) -> None:
        self._read = read
        self._url = url
        self._known: dict[str, int] = {}
        self._tried_at: dict[str, float] = {}

    async def of(self, model: str) -> int:
        """Return the tokens of a model's context; 0: the server does not tell."""
        if model in self._known:
            return self._known[model]
        if time.monotonic() - self._tried_at.get(model, -REPEAT_AFTER_S) < REPEAT_AFTER_S:
            return 0
        try:
            async with httpx2.AsyncClient(timeout=TIMEOUT_S, trust_env=trusts_environment(self._url)) as client:
                length = await self._read(client, model)
        except (httpx2.HTTPError, *UNDECODABLE):
            length = 0
        if length:
            self._known[model] = length
        else:
            self._tried_at[model] = time.monotonic()
        return length


def length_of(tree: Tree, names: tuple[str, ...] = _NAMES) -> int:
    """Return the first field that is a context length; 0: there is none."""
    for name in names:
        value = tree.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_LENGTH:
            return value
    return 0


def of_models(listed: object, model: str) -> int:
    """Return the length from a response of `/v1/models` (vLLM, OpenRouter, LM Studio and others)."""
    for entry in _list(_tree(listed).get("data")):
        found = _tree(entry)
        if found.get("id") == model:
            return length_of(found) or length_of(_tree(found.get("meta")))
    return 0


def of_props(props: object) -> int:
    """Return the length from a response of llama.cpp's `/props`: what the server gives each slot."""
    return length_of(_tree(_tree(props).get("default_generation_settings")), ("n_ctx",))


def of_ollama(shown: object, running: object, model: str) -> int:
    """Return the length Ollama gives a model: that of the loaded one, else its `num_ctx`, else at most its default.

    Args:
        shown: response of `/api/show`.
        running: response of `/api/ps`.
    """
    for entry in _list(_tree(running).get("models")):
        if model in (_tree(entry).get("name"), _tree(entry).get("model")) and (length := length_of(_tree(entry))):
            return length
    parameters = _tree(shown).get("parameters")
    for line in parameters.split("\n") if isinstance(parameters, str) else []:
        name, _, value = line.strip().partition(" ")
        if name == "num_ctx" and value.strip().isdecimal():
            return length_of({"n_ctx": int(value.strip()[:9])})
    info = _tree(_tree(shown).get("model_info"))
    trained = next((length_of({"n_ctx": info[key]}) for key in info if key.endswith(".context_length")), 0)
    return min(trained, OLLAMA_DEFAULT)


async def get(client: httpx2.AsyncClient, url: str, headers: dict[str, str] | None = None) -> object:
    """Return the JSON at a URL; None: there is none."""
    response = await client.get(url, headers=headers)
    return msgspec.json.decode(response.content) if response.status_code == 200 else None


async def post(client: httpx2.AsyncClient, url: str, body: object) -> object:
    """Return the JSON of a response; None: there is none."""
    response = await client.post(url, json=body)
    return msgspec.json.decode(response.content) if response.status_code == 200 else None


def _tree(value: Any) -> Tree:
    return cast("Tree", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []  # type: ignore[redundant-cast] # not for pyright
