"""Tools for models whose server has no tool calls, or that are too small to use them: one JSON object a turn.

The tools are described in the prompt, and the completion is constrained to `{"tool", "arguments"}` or `{"answer"}` by
a JSON schema, so that even a small model cannot write a call that cannot be parsed. The text of an answer is streamed
while it arrives.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from string import hexdigits
from typing import Any

import msgspec

from syntor.contracts.bounds import well_formed
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.task.v1 import ToolCall
from syntor.models.chat import (
    Bound,
    ChatMessage,
    ChatModel,
    ChatRequest,
    Completed,
    ModelError,
    StreamEvent,
    TextDelta,
    ToolSpec,
    context_tokens_of,
)
from syntor.models.chat_stream import paired, valid_arguments
from syntor.models.wire import decode

_HOW = (
    "You work with tools. Reply with one JSON object and nothing else:\n"
    '{"tool": "NAME", "arguments": {...}} to use a tool, or {"answer": "TEXT"} once you can answer.\n'
    "Look with a tool before you say anything about files. Never use the same tool with the same arguments twice.\n"
    "What you can do:"
)
_ONLY_ANSWER = 'Answer now, with what the tools found. Reply with one JSON object: {"answer": "TEXT"}'
_NEXT = "If this is enough, answer the user in your own words; else use another tool."
_REPLACEMENT = "\ufffd"
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class JsonToolsModel:
    """`ChatModel` that gives tools to a model without tool calls; a request without tools passes unchanged."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self.provider = model.provider

    async def close(self) -> None:
        """Close connections."""
        await self._model.close()

    async def context_tokens(self, model: str) -> int:
        """Return the context length; 0: not known."""
        return await context_tokens_of(self._model, model)

    async def bound(self, request: ChatRequest) -> Bound:
        """Return the most this call can use."""
        return await self._model.bound(constrained(request) if _needs(request) else request)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream the response; see `ChatModel.stream`."""
        if not _needs(request):
            async with aclosing(self._model.stream(request)) as events:
                async for event in events:
                    yield event
            return
        reader = AnswerReader()
        async with aclosing(self._model.stream(constrained(request))) as events:
            async for event in events:
                match event:
                    case TextDelta(text=text):
                        if piece := reader.feed(text):
                            yield TextDelta(piece)
                    case Completed():
                        yield completed(event)
                    case _:
                        yield event


def _needs(request: ChatRequest) -> bool:
    """Return whether tools play a part: they are offered, or were used before."""
    return bool(request.tools) or any(message.role == "tool" for message in request.messages)


def constrained(request: ChatRequest) -> ChatRequest:
    """Return a request without tools whose completion must be a tool call or an answer, as JSON."""
    described = "\n".join([_HOW, *(_described(tool) for tool in request.tools)]) if request.tools else _ONLY_ANSWER
    messages = rewritten(request.messages)
    if messages and messages[0].role == "system":
        first = msgspec.structs.replace(messages[0], content=f"{messages[0].content}\n\n{described}")
        messages = [first, *messages[1:]]
    else:
        messages = [ChatMessage(role="system", content=described), *messages]
    return msgspec.structs.replace(request, messages=messages, tools=[], json_schema=schema_of(request.tools))


def schema_of(tools: list[ToolSpec]) -> dict[str, Any]:
    """Return the schema of a turn: a call of one of the tools, or an answer."""
    calls = [_object(tool={"const": tool.name}, arguments=tool.parameters) for tool in tools]
    return {"anyOf": [*calls, _object(answer={"type": "string"})]}


def rewritten(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Return a conversation with tool calls and results as the JSON and the text they are here."""
    names: dict[str, str] = {}
    found: list[ChatMessage] = []
    for message in messages:
        if message.tool_calls:
            for call in message.tool_calls:
                names[call.id] = call.name
            calls = [
                f'{{"tool": "{call.name}", "arguments": {valid_arguments(call.arguments)}}}'
                for call in message.tool_calls
            ]
            found.append(ChatMessage(role="assistant", content="\n".join(calls)))
        elif message.role == "tool":
            result = f"Result of {names.get(message.tool_call_id, 'the tool')}:\n{message.content}\n\n{_NEXT}"
            found.append(ChatMessage(role="user", content=result))
        else:
            found.append(message)
    return found


def completed(event: Completed) -> Completed:
    """Return the end of a turn with its tool call or its text.

    Raises:
        ModelError: `bad_response`: it is neither; a retry may help.
    """
    try:
        content = decode(event.text, dict[str, Any])
    except UNDECODABLE as exc:
        if text := AnswerReader().feed(event.text):  # it was shown
            return msgspec.structs.replace(event, text=text)
        raise ModelError("bad_response", f"{event.model} wrote no readable call: {exc}", retryable=True) from exc
    if "tool" in content:
        call = ToolCall(
            id="call_1", name=str(content["tool"]), arguments=msgspec.json.encode(content.get("arguments", {})).decode()
        )
        return msgspec.structs.replace(event, text="", tool_calls=[call], finish_reason="tool_calls")
    return msgspec.structs.replace(event, text=str(content.get("answer", "")))


class AnswerReader:
    """Extracts the text of `{"answer": "..."}` while the JSON arrives; of anything else, nothing."""

    def __init__(self) -> None:
        self._raw = ""
        self._at = -1
        """Where reading continues; -1: the text has not begun."""
        self._complete = False

    def feed(self, piece: str) -> str:
        """Return what can be read now."""
        self._raw += piece
        if self._at < 0:
            head = self._raw.replace(" ", "").replace("\n", "")
            if not head.startswith('{"answer":"'):
                return ""
            self._at = self._raw.index('"', self._raw.index(":")) + 1
        read: list[str] = []
        while not self._complete and self._at < len(self._raw):
            sign = self._raw[self._at]
            if sign == '"':
                self._complete = True
            elif sign == "\\":
                text, length = self._escaped()
                if not length:
                    break  # the rest of it has not arrived
                read.append(text)
                self._at += length
            else:
                read.append(sign)
                self._at += 1
        return "".join(read)

    def _escaped(self) -> tuple[str, int]:
        """Return what an escape stands for and how long it is; 0: it is not whole yet."""
        rest = self._raw[self._at : self._at + 12]
        if len(rest) < 2:
            return "", 0
        if rest[1] != "u":
            return _ESCAPES.get(rest[1], rest[1]), 2
        if len(rest) < 6:
            return "", 0
        first = _code(rest[2:6])
        if not 0xD800 <= first < 0xDC00:  # no first half of a pair
            return well_formed(chr(first)), 6
        if len(rest) < 12 and "\\u".startswith(rest[6:8]):
            return "", 0
        second = _code(rest[8:12]) if rest[6:8] == "\\u" else 0
        return (paired(chr(first) + chr(second)), 12) if 0xDC00 <= second < 0xE000 else (_REPLACEMENT, 6)


def _code(digits: str) -> int:
    """Return a code unit; U+FFFD for what is none."""
    return int(digits, 16) if len(digits) == 4 and set(digits) <= set(hexdigits) else ord(_REPLACEMENT)


def _described(tool: ToolSpec) -> str:
    properties: dict[str, Any] = tool.parameters.get("properties", {})
    required: list[str] = tool.parameters.get("required", [])
    names = ", ".join(f'"{name}": ...' for name in properties if name in required)
    more = ", ".join(name for name in properties if name not in required)
    example = f'{{"tool": "{tool.name}", "arguments": {{{names}}}}}'
    return f"{tool.description} {example}" + (f" (may have {more})" if more else "")


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
