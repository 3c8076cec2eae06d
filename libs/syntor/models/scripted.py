"""A model that answers by rules from a YAML file; without a file it streams the input back word by word.

For tests and demos: deterministic, no network. The file is read again when it changes; rules with `times` then count
anew.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from syntor.contracts.task.v1 import ToolCall, Usage
from syntor.models.chat import Bound, ChatRequest, Completed, ModelError, StreamEvent, TextDelta

SCRIPT_VARIABLE = "SYNTOR_SCRIPT"
_PROVIDER = "scripted"


class ScriptedToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call a rule asks for."""

    name: str
    arguments: dict[str, Any] = {}


class ScriptedUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule says was used; what it leaves out is counted in words."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_microusd: int = 0


class ScriptedError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A failure a rule ends in."""

    code: str = "model_unavailable"
    message: str = "the script says so"
    retryable: bool = False
    after_words: int = 0
    """Words of the text that are said before it fails."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule; the first that fits answers."""

    match: str = ""
    """Pattern searched in the last user message, without regard to case; empty fits all."""
    tool_result: str | None = None
    """Pattern searched in the last message when it is a tool's result; a rule without it never answers a result."""
    times: int | None = None
    """How often the rule answers; None: always."""
    text: str = ""
    """What it says; `{input}` is the last user message."""
    tool_calls: list[ScriptedToolCall] = []
    usage: ScriptedUsage = ScriptedUsage()
    delay_s: float = 0.0
    """Seconds before the first word."""
    chunk_words: int = 0
    """Words in a piece; 0: all at once."""
    chunk_delay_s: float = 0.0
    """Seconds between pieces."""
    error: ScriptedError | None = None
    finish_reason: str = ""


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A script file."""

    rules: list[Rule]


ECHO = Script([Rule(tool_result=".", text="{input}"), Rule(text="{input}", chunk_words=1)])


def read_script(path: Path) -> Script:
    """Read a script file.

    Raises:
        ModelError: it cannot be read, is not YAML, or not of its form; names file, place and reason.
    """
    try:
        script = msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Script)
        for number, rule in enumerate(script.rules, 1):
            for pattern in (rule.match, rule.tool_result or ""):
                try:
                    re.compile(pattern)
                except re.error as exc:
                    raise ModelError("configuration", f"{path}: rule {number}: pattern {pattern!r}: {exc}") from exc
    except OSError as exc:
        raise ModelError("configuration", f"{path}: {exc.strerror}; {SCRIPT_VARIABLE} names it") from exc
    except (yaml.YAMLError, msgspec.ValidationError) as exc:
        raise ModelError("configuration", f"{path}: {exc}") from exc
    return script


class ScriptedModel:
    """`ChatModel` that follows a script."""

    provider = _PROVIDER

    def __init__(self, path: Path | None = None) -> None:
        variable = os.environ.get(SCRIPT_VARIABLE, "")
        self._path = path or (Path(variable) if variable else None)
        self._stamp: tuple[int, int] | None = None
        self._script = ECHO
        self._used: dict[int, int] = {}

    async def close(self) -> None:
        """Nothing to release."""

    async def bound(self, request: ChatRequest) -> Bound:
        """Return exactly what the rule that will answer uses, as far as nobody cuts it."""
        self._reload()
        asked = _asked(request)
        rule = self._script.rules[self._fitting(request, asked)]
        usage = _usage(rule.usage, request, rule.text.replace("{input}", asked))
        return Bound(
            input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, fixed_microusd=usage.cost_microusd
        )

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Answer by the first rule that fits; see `ChatModel.stream`."""
        self._reload()
        asked = _asked(request)
        rule = self._pick(request, asked)
        if rule.delay_s:
            await asyncio.sleep(rule.delay_s)
        text, cut = _cut(rule.text.replace("{input}", asked), rule, request.max_tokens)
        pieces = list(_pieces(text, rule.chunk_words))
        said = 0
        for number, piece in enumerate(pieces):
            if rule.error is not None and said >= rule.error.after_words:
                break
            if number and rule.chunk_delay_s:
                await asyncio.sleep(rule.chunk_delay_s)
            said += len(piece.split())
            yield TextDelta(piece)
        if rule.error is not None:
            raise ModelError(rule.error.code, rule.error.message, retryable=rule.error.retryable)
        calls = [
            ToolCall(id=f"call_{len(request.messages)}_{number}", name=call.name, arguments=_json(call.arguments))
            for number, call in enumerate(rule.tool_calls, 1)
        ]
        yield Completed(
            text=text,
            tool_calls=calls,
            finish_reason=("length" if cut else rule.finish_reason) or ("tool_calls" if calls else "stop"),
            usage=_usage(rule.usage, request, text, request.max_tokens),
            model=request.model,
            provider=_PROVIDER,
        )

    def _reload(self) -> None:
        if self._path is None:
            return
        try:
            status = self._path.stat()
        except OSError as exc:
            raise ModelError("configuration", f"{self._path}: {exc.strerror}; {SCRIPT_VARIABLE} names it") from exc
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._script, self._stamp, self._used = read_script(self._path), stamp, {}

    def _pick(self, request: ChatRequest, asked: str) -> Rule:
        number = self._fitting(request, asked)
        self._used[number] = self._used.get(number, 0) + 1
        return self._script.rules[number]

    def _fitting(self, request: ChatRequest, asked: str) -> int:
        last = request.messages[-1] if request.messages else None
        for number, rule in enumerate(self._script.rules):
            if rule.times is not None and self._used.get(number, 0) >= rule.times:
                continue
            if last is not None and last.role == "tool":
                fits = rule.tool_result is not None and re.search(rule.tool_result, last.content, re.S) is not None
            else:
                fits = rule.tool_result is None
            if fits and re.search(rule.match, asked, re.IGNORECASE | re.S):
                return number
        raise ModelError("bad_response", f"no rule of {self._path or 'the echo script'} fits {asked[:80]!r}")


def _asked(request: ChatRequest) -> str:
    return next((message.content for message in reversed(request.messages) if message.role == "user"), "")


def _cut(text: str, rule: Rule, max_tokens: int | None) -> tuple[str, bool]:
    """Return what is said of a text when an answer may have so many tokens, counted in words."""
    words = text.split()
    if max_tokens is None or rule.usage.output_tokens is not None or len(words) <= max_tokens:
        return text, False
    return " ".join(words[:max_tokens]), True


def _pieces(text: str, words: int) -> list[str]:
    if words <= 0:
        return [text] if text else []
    parts = re.findall(r"\s*\S+\s*?(?=\s|\Z)|\s+\Z", text)
    return ["".join(parts[start : start + words]) for start in range(0, len(parts), words)]


def _json(arguments: dict[str, Any]) -> str:
    return msgspec.json.encode(arguments).decode()


def _usage(usage: ScriptedUsage, request: ChatRequest, text: str, max_tokens: int | None = None) -> Usage:
    asked = usage.input_tokens
    if asked is None:
        asked = sum(len(message.content.split()) for message in request.messages)
    answered = usage.output_tokens if usage.output_tokens is not None else len(text.split())
    if max_tokens is not None:
        answered = min(answered, max_tokens)
    return Usage(input_tokens=asked, output_tokens=answered, cost_microusd=usage.cost_microusd)
