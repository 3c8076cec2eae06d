"""A model that follows the rules of a YAML file; without a file it streams the input back word by word.

For tests and demos: deterministic, no network. The file is read again when it changes; rules with `times` then start
counting again.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from syntor.contracts.task.v1 import ToolCall, Usage
from syntor.contracts.vocabulary import FinishReason
from syntor.documents import Check, InvalidDocumentError, parse_yaml, read_as, read_text
from syntor.models.chat import Bound, ChatRequest, Completed, ModelError, ModelErrorCode, StreamEvent, TextDelta

SCRIPT_VARIABLE = "SYNTOR_SCRIPT"
_PROVIDER = "scripted"


def _check_pattern(text: str, _: Mapping[str, Any]) -> None:
    try:
        re.compile(text)
    except re.error as exc:
        raise ValueError(f"pattern {text!r}: {exc}") from exc


Text = Annotated[str, Meta(max_length=1_000_000)]
Pattern = Annotated[str, Meta(max_length=4096), Check(_check_pattern)]
Tokens = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class ScriptedToolCall(msgspec.Struct, frozen=True):
    """A tool call that a rule makes."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    """Name of the tool."""
    arguments: dict[str, Any] = {}
    """Its arguments; `{input}` in one that is text is the last user message."""


class ScriptedUsage(msgspec.Struct, frozen=True):
    """The usage a rule reports; what it leaves out is counted in words."""

    input_tokens: Tokens | None = None
    """Tokens of the prompt; None: its words are counted."""
    output_tokens: Tokens | None = None
    """Tokens of the completion; None: its words are counted."""
    cost_microusd: Tokens = 0
    """Cost, in millionths of a US dollar."""


class ScriptedError(msgspec.Struct, frozen=True):
    """A failure a rule ends in."""

    code: ModelErrorCode = "model_unavailable"
    """Code of the `ModelError`."""
    message: Text = "failed as the script says"
    """Text of it."""
    retryable: bool = False
    """Whether the same call may succeed later."""
    after_words: Annotated[int, Meta(ge=0)] = 0
    """Words of the text that are streamed before the failure."""


class Rule(msgspec.Struct, frozen=True):
    """One rule; the first that matches a request makes the completion."""

    match: Pattern = ""
    """Pattern searched in the last user message, without regard to case; empty matches all."""
    tool_result: Pattern | None = None
    """Pattern searched in the last message when it is a tool's result; a rule without it never matches a result."""
    times: Annotated[int, Meta(ge=0)] | None = None
    """How often the rule applies; None: always."""
    text: Text = ""
    """Text of the completion; `{input}` is the last user message."""
    tool_calls: Annotated[list[ScriptedToolCall], Meta(max_length=256)] = []
    """Tool calls of the completion."""
    usage: ScriptedUsage = ScriptedUsage()
    """Usage it reports."""
    delay_s: Seconds = 0.0
    """Seconds before the first word."""
    chunk_words: Annotated[int, Meta(ge=0)] = 0
    """Words in a chunk; 0: the whole text in one."""
    chunk_delay_s: Seconds = 0.0
    """Seconds between chunks."""
    error: ScriptedError | None = None
    """Failure to end in; None: the call succeeds."""
    finish_reason: FinishReason | None = None
    """Reason of the completion's end; None: derived from it."""


class Script(msgspec.Struct, frozen=True):
    """A script file."""

    rules: Annotated[list[Rule], Meta(max_length=10_000)]
    """In the order in which they are tried."""
    context_tokens: Tokens = 0
    """Words a prompt may have, as its context length; 0: not known, and unlimited."""


ECHO = Script(rules=[Rule(tool_result=".", text="{input}"), Rule(text="{input}", chunk_words=1)])


def read_script(path: Path) -> Script:
    """Read a script file.

    Raises:
        ModelError: `configuration`: it cannot be read, is not YAML, or is not of its form; names file, line, field,
            value and what is allowed, for every error.
    """
    try:
        return read_as(parse_yaml(read_text(path), str(path)), Script)
    except FileNotFoundError as exc:
        raise ModelError("configuration", f"{path}: {exc.strerror}; {SCRIPT_VARIABLE} names it") from exc
    except InvalidDocumentError as exc:
        raise ModelError("configuration", str(exc)) from exc


class ScriptedModel:
    """`ChatModel` that follows a script."""

    provider = _PROVIDER

    def __init__(self, path: Path | None = None) -> None:
        variable = os.environ.get(SCRIPT_VARIABLE, "")
        self._path = path or (Path(variable) if variable else None)
        self._stamp: tuple[int, int] | None = None
        self._reading = asyncio.Lock()
        self._script = ECHO
        self._used: dict[int, int] = {}

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    async def context_tokens(self, model: str) -> int:
        """Return the context length of the script."""
        del model
        await self._reload()
        return self._script.context_tokens

    async def bound(self, request: ChatRequest) -> Bound:
        """Return exactly what the matching rule uses, unless `max_tokens` cuts it."""
        await self._reload()
        prompt = _last_input(request)
        rule = self._script.rules[self._matching(request, prompt)]
        usage = _usage(rule.usage, request, rule.text.replace("{input}", prompt))
        return Bound(
            input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, fixed_microusd=usage.cost_microusd
        )

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream the text of the first rule that matches; see `ChatModel.stream`."""
        await self._reload()
        prompt = _last_input(request)
        words = sum(len(message.content.split()) for message in request.messages)
        if 0 < self._script.context_tokens < words:
            raise ModelError("context_exceeded", f"{words} words, the context has {self._script.context_tokens}")
        rule = self._pick(request, prompt)
        if rule.delay_s:
            await asyncio.sleep(rule.delay_s)
        text, cut = _cut(rule.text.replace("{input}", prompt), rule, request.max_tokens)
        chunks = list(_chunks(text, rule.chunk_words))
        streamed = 0
        for number, chunk in enumerate(chunks):
            if rule.error is not None and streamed >= rule.error.after_words:
                break
            if number and rule.chunk_delay_s:
                await asyncio.sleep(rule.chunk_delay_s)
            streamed += len(chunk.split())
            yield TextDelta(chunk)
        if rule.error is not None:
            raise ModelError(rule.error.code, rule.error.message, retryable=rule.error.retryable)
        calls = [
            ToolCall(id=f"call_{len(request.messages)}_{number}", name=call.name, arguments=_arguments(call, prompt))
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

    async def _reload(self) -> None:
        """Read the script again if it changed; in a thread, since a long one takes seconds."""
        if self._path is None:
            return
        async with self._reading:
            stamp = _stamp_of(self._path)
            if stamp != self._stamp:
                self._script, self._stamp, self._used = await asyncio.to_thread(read_script, self._path), stamp, {}

    def _pick(self, request: ChatRequest, prompt: str) -> Rule:
        number = self._matching(request, prompt)
        self._used[number] = self._used.get(number, 0) + 1
        return self._script.rules[number]

    def _matching(self, request: ChatRequest, prompt: str) -> int:
        last = request.messages[-1] if request.messages else None
        for number, rule in enumerate(self._script.rules):
            if rule.times is not None and self._used.get(number, 0) >= rule.times:
                continue
            if last is not None and last.role == "tool":
                matches = rule.tool_result is not None and re.search(rule.tool_result, last.content, re.S) is not None
            else:
                matches = rule.tool_result is None
            if matches and re.search(rule.match, prompt, re.IGNORECASE | re.S):
                return number
        raise ModelError("bad_response", f"no rule of {self._path or 'the echo script'} matches {prompt[:80]!r}")


def _stamp_of(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as exc:
        raise ModelError("configuration", f"{path}: {exc.strerror}; {SCRIPT_VARIABLE} names it") from exc
    return status.st_mtime_ns, status.st_size


def _last_input(request: ChatRequest) -> str:
    return next((message.content for message in reversed(request.messages) if message.role == "user"), "")


def _cut(text: str, rule: Rule, max_tokens: int | None) -> tuple[str, bool]:
    """Return what is streamed of a text when a completion is limited to so many tokens, counted in words."""
    words = text.split()
    if max_tokens is None or rule.usage.output_tokens is not None or len(words) <= max_tokens:
        return text, False
    return " ".join(words[:max_tokens]), True


def _chunks(text: str, words: int) -> list[str]:
    if words <= 0:
        return [text] if text else []
    parts = re.findall(r"\s*\S+\s*?(?=\s|\Z)|\s+\Z", text)
    return ["".join(parts[start : start + words]) for start in range(0, len(parts), words)]


def _arguments(call: ScriptedToolCall, prompt: str) -> str:
    """Return the arguments of a call as JSON."""
    filled = {
        name: value.replace("{input}", prompt) if isinstance(value, str) else value
        for name, value in call.arguments.items()
    }
    return msgspec.json.encode(filled).decode()


def _usage(usage: ScriptedUsage, request: ChatRequest, text: str, max_tokens: int | None = None) -> Usage:
    prompt_tokens = usage.input_tokens
    if prompt_tokens is None:
        prompt_tokens = sum(len(message.content.split()) for message in request.messages)
    completion_tokens = usage.output_tokens if usage.output_tokens is not None else len(text.split())
    if max_tokens is not None:
        completion_tokens = min(completion_tokens, max_tokens)
    return Usage(input_tokens=prompt_tokens, output_tokens=completion_tokens, cost_microusd=usage.cost_microusd)
