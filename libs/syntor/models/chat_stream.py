"""Puts the chunks of a streamed chat completion together, whatever form a server gives them.

Reads liberally: a field that is missing, null or of another type counts as absent, and text that was shown is never
lost for it. What a provider needs to see again in the next request (reasoning, thought signatures, its own call ids)
is kept as it was sent.
"""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec

from syntor.contracts.bounds import MAX_ITEMS, MAX_TEXT, well_formed
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.task.v1 import ToolCall, Usage
from syntor.models.retries import refusal_code
from syntor.models.wire import Metered, metered, tree_of

MAX_EXTRA_CHARACTERS = 4 * 1024 * 1024  # of reasoning and signatures; more is not sent back
_SENT_BACK = frozenset({
    "reasoning_content", "reasoning", "reasoning_details", "reasoning_opaque", "reasoning_text", "thinking_blocks",
    "extra_content", "thought_signature", "signature", "provider_specific_fields",
})  # fmt: skip
_OF_A_CALL = frozenset({"index", "id", "type", "function"})
_HIGH = ("\ud800", "\udbff")  # first halves of surrogate pairs

Tree = dict[str, Any]


class ServerFaultError(ValueError):
    """The server sent an error in its stream, or something that is no chunk."""

    def __init__(self, message: str, code: str = "bad_response") -> None:
        super().__init__(message)
        self.code = code
        self.retryable = code in ("model_unavailable", "rate_limited")


class _Call(msgspec.Struct):
    """A tool call while its fragments arrive."""

    id: str = ""
    name: str = ""
    arguments: list[str] = []
    extra: Tree = {}


class ChatStream:
    """One completion while it arrives."""

    def __init__(self) -> None:
        self.model = ""
        self.finish = ""
        """Word of the server for the reason of the end; empty: it has not ended."""
        self.used = Metered(Usage())
        self._text: list[str] = []
        self._held = ""
        """The first half of a surrogate pair whose second half has not arrived."""
        self._calls: list[_Call] = []
        self._at: dict[int, _Call] = {}
        self._extra: Tree = {}
        self._extra_size = 0
        self._size = 0

    @property
    def text(self) -> str:
        """All text so far."""
        return "".join(self._text)

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tool calls, in the order they began."""
        return [_finished(call, number) for number, call in enumerate(self._calls, 1)]

    @property
    def extra(self) -> str:
        """What the provider has to see again with this message, a JSON object; empty: nothing."""
        return _encoded(self._extra)

    def feed(self, data: str) -> str:
        """Take in one chunk and return the text it adds.

        Raises:
            ServerFaultError: it is an error of the server, or no chat completion.
        """
        try:
            tree = tree_of(data)
        except msgspec.DecodeError as exc:
            raise ServerFaultError(f"sent what is no chat completion: {exc}") from exc
        if not isinstance(tree, dict):
            raise ServerFaultError(f"sent what is no chat completion: {data[:80]}")
        return self.take(cast("Tree", tree))

    def take(self, chunk: Tree) -> str:
        """Take in one decoded chunk and return the text it adds; see `feed`."""
        if fault := chunk.get("error"):
            raise ServerFaultError(fault_text(fault), refusal_code(fault_status(fault)))
        choices = chunk.get("choices")
        if choices is not None and not isinstance(choices, list):
            raise ServerFaultError(f"sent what is no chat completion: choices is {str(choices)[:80]}")
        self.model = _text_of(chunk.get("model")) or self.model
        if chunk.get("usage") is not None:
            self.used = usage_of(chunk["usage"])
        choice = _object(next(iter(_list(choices)), None))
        self.finish = _text_of(choice.get("finish_reason")) or self.finish
        return self._delta(_object(choice.get("delta")) or _object(choice.get("message")))

    def end(self) -> str:
        """Return the text that was held back for its second half."""
        held, self._held = well_formed(self._held), ""
        self._text.append(held)
        return held

    def _delta(self, delta: Tree) -> str:
        for field in _SENT_BACK & delta.keys():
            self._extra_size += len(json.dumps(delta[field]))
            if self._extra_size <= MAX_EXTRA_CHARACTERS:
                self._extra[field] = _joined(self._extra.get(field), delta[field])
            else:
                self._extra.clear()
        for part in _list(delta.get("tool_calls")):
            self._fragment(_object(part))
        if function := _object(delta.get("function_call")):
            self._fragment({"index": 0, "function": function})
        return self._piece(_content(delta.get("content")))

    def _piece(self, raw: str) -> str:
        """Return text to show, with the halves of characters put together."""
        if not raw:
            return ""
        raw, self._held = self._held + raw, ""
        if _HIGH[0] <= raw[-1] <= _HIGH[1]:
            raw, self._held = raw[:-1], raw[-1]
        text = paired(raw)
        self._text.append(text)
        return text

    def _fragment(self, part: Tree) -> None:
        """Add a fragment to the call it belongs to.

        Servers tell calls apart by index, by id, or only by naming another function.
        """
        function = _object(part.get("function"))
        name, call_id = _text_of(function.get("name")), _text_of(part.get("id"))
        call = self._call_of(_index(part.get("index")), call_id, name)
        call.id = call.id or call_id
        self._grow(len(name))
        if name != call.name:
            call.name += name
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            call.arguments.append(arguments)
            self._grow(len(arguments))
        elif arguments is not None:
            call.arguments = [json.dumps(arguments)]
        for field, value in part.items():
            if field not in _OF_A_CALL and value is not None:
                call.extra = {**call.extra, field: _joined(call.extra.get(field), value)}

    def _grow(self, size: int) -> None:
        """Note what tool calls take.

        Raises:
            ServerFaultError: it is more than can be recorded.
        """
        self._size += size
        if self._size > MAX_TEXT or len(self._calls) > MAX_ITEMS:
            raise ServerFaultError("sent tool calls without end")

    def _call_of(self, index: int | None, call_id: str, name: str) -> _Call:
        call = self._at.get(index) if index is not None else (self._calls[-1] if self._calls else None)
        if index is None and call_id:
            call = next((each for each in self._calls if each.id == call_id), call)
        another_id = call is not None and bool(call_id) and bool(call.id) and call.id != call_id
        another_name = call is not None and index is None and not call_id and bool(name) and bool(call.name)
        if call is None or (another_id and bool(name)) or another_name:
            call = _Call()
            self._calls.append(call)
        if index is not None:
            self._at[index] = call
        return call


def usage_of(sent: object) -> Metered:
    """Return the usage of a chunk, whatever it is."""
    if not isinstance(sent, dict):
        return Metered(Usage(), f"usage: {str(sent)[:80]}, expected an object")
    usage = _object(sent)
    details = _object(usage.get("prompt_tokens_details"))
    cached = details.get("cached_tokens", usage.get("prompt_cache_hit_tokens"))  # DeepSeek's name
    return metered(usage.get("prompt_tokens"), usage.get("completion_tokens"), cached)


def valid_arguments(arguments: str) -> str:
    """Return arguments of a tool call as a provider takes them back: a JSON object, whatever the model wrote."""
    try:
        msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    except UNDECODABLE:
        return msgspec.json.encode({"malformed_arguments": well_formed(arguments)}).decode()
    return arguments or "{}"


def paired(text: str) -> str:
    """Return text whose surrogate pairs are characters; lone halves are replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def fault_status(fault: object) -> int:
    """Return the status of HTTP an error stands for; 500 where it names none."""
    tree = _object(fault)
    if tree.get("type") == "invalid_request_error":
        return 400
    text = str(tree.get("code"))
    return int(text) if text.isascii() and text.isdecimal() and len(text) == 3 and text >= "400" else 500


def fault_text(fault: object) -> str:
    """Return the message of an error, whatever its form."""
    message = _object(fault).get("message", fault)
    return str(message)[:2000]


def _finished(call: _Call, number: int) -> ToolCall:
    return ToolCall(
        id=f"call_{number}",
        provider_id=paired(call.id),
        name=paired(call.name),
        arguments=paired("".join(call.arguments)) or "{}",
        extra=_encoded(call.extra),
    )


def sent_back(message: Tree) -> str:
    """Return the fields of a whole message that its provider has to see again, as JSON; empty: none."""
    return _encoded({field: message[field] for field in _SENT_BACK & message.keys()})


def _encoded(extra: Tree) -> str:
    """Return fields as JSON; empty: there are none, or more than is sent back."""
    kept = {field: value for field, value in extra.items() if value not in (None, "", [], {})}
    text = well_formed(json.dumps(kept, ensure_ascii=True)) if kept else ""
    return text if len(text) <= MAX_EXTRA_CHARACTERS else ""


def _joined(before: Any, new: Any) -> Any:
    """Return a field after one more fragment of it: texts and lists continue, anything else is replaced."""
    if new is None:
        return before
    if isinstance(before, str) and isinstance(new, str):
        return before + new
    if isinstance(before, list) and isinstance(new, list):
        return [*_list(before), *_list(new)]
    if isinstance(before, dict) and isinstance(new, dict):
        return {**cast("Tree", before), **cast("Tree", new)}
    return new


def _content(content: Any) -> str:
    """Return the text of a content, which is text or a list of parts."""
    if isinstance(content, list):
        return "".join(_content(part) for part in _list(content))
    if isinstance(content, dict):
        part = cast("Tree", content)
        return _text_of(part.get("text")) if part.get("type", "text") in ("text", "output_text") else ""
    return _text_of(content)


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []  # type: ignore[redundant-cast] # not for pyright


def _object(value: Any) -> Tree:
    return cast("Tree", value) if isinstance(value, dict) else {}


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _index(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
