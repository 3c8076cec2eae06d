"""Requests to a model and the events of its response, the same for every provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from syntor.contracts.errors import InfrastructureError
from syntor.contracts.task.v1 import ToolCall, Usage
from syntor.contracts.vocabulary import FinishReason


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a conversation."""

    role: str
    """system, user, assistant or tool."""
    content: str
    tool_calls: list[ToolCall] = []
    """Calls an assistant's message makes."""
    tool_call_id: str = ""
    """Call whose result a tool's message is."""
    extra: str = ""
    """Fields of an assistant's message that its provider gets back as it sent them, a JSON object; empty: none."""
    origin: str = ""
    """`provider/model` that wrote it: another one does not get what only this one understands; empty: not known."""


def addressed(messages: list[ChatMessage], model: str) -> list[ChatMessage]:
    """Return messages as a model gets them.

    What it wrote itself goes back as its provider sent it, its own call ids included; what another model wrote goes
    without what only that one understands.

    Args:
        model: `provider/model` of the model that is called.
    """
    ids: dict[str, str] = {}
    found: list[ChatMessage] = []
    for message in messages:
        own = bool(message.origin) and message.origin == model
        calls: list[ToolCall] = []
        for call in message.tool_calls:
            ids[call.id] = call.provider_id if own and call.provider_id else call.id
            calls.append(
                ToolCall(id=ids[call.id], name=call.name, arguments=call.arguments, extra=call.extra if own else "")
            )
        changed = msgspec.structs.replace(
            message,
            tool_calls=calls,
            tool_call_id=ids.get(message.tool_call_id, message.tool_call_id),
            extra=message.extra if own else "",
        )
        found.append(changed)
    return found


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool a model may call."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON schema of its arguments, an object."""


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One model call."""

    model: str
    """Name as the provider knows it."""
    messages: list[ChatMessage]
    tools: list[ToolSpec] = []
    max_tokens: int | None = None
    temperature: float | None = None
    timeout_s: float = 300.0
    """Seconds the whole response may take."""
    json_schema: dict[str, Any] | None = None
    """Schema of the completion; None: free text."""


class TextDelta(msgspec.Struct, frozen=True):
    """Text to append to the completion."""

    text: str


class Progress(msgspec.Struct, frozen=True):
    """Status while no text arrives."""

    message: str
    fraction: float | None = None


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a stream; exactly one, last."""

    text: str
    """The whole text: all deltas joined."""
    tool_calls: list[ToolCall] = []
    finish_reason: FinishReason = "stop"
    """Why the model stopped."""
    usage: Usage = Usage()
    usage_refused: str = ""
    """Why what the provider sent as usage is not used; the call then counts as all that was reserved for it."""
    model: str = ""
    provider: str = ""
    extra: str = ""
    """Fields of the message to send back as they are, a JSON object; empty: none."""


_FINISH_REASONS: dict[str, FinishReason] = {
    "length": "length", "max_tokens": "length", "tool_calls": "tool_calls", "tool_use": "tool_calls",
    "function_call": "tool_calls", "content_filter": "content_filter", "safety": "content_filter",
    "refusal": "content_filter", "blocklist": "content_filter", "prohibited_content": "content_filter",
    "max_output_tokens": "length", "model_length": "length", "model_context_window_exceeded": "length",
}  # fmt: skip


def finish_reason(text: str) -> FinishReason:
    """Return the finish reason a provider's word stands for; an unknown word counts as `stop`."""
    return _FINISH_REASONS.get(text.lower(), "stop")


StreamEvent = TextDelta | Progress | Completed


ModelErrorCode = Literal[
    "model_unavailable", "model_not_installed", "rate_limited", "context_exceeded", "authentication_failed",
    "content_filtered", "timeout", "bad_response", "configuration", "circuit_open",
]  # fmt: skip


class ModelError(InfrastructureError):
    """A model call failed.

    Attributes:
        code: one of `ModelErrorCode`.
        retryable: whether the same call may succeed later.
        retry_after_s: how long the provider requests to wait, if it does.
    """

    def __init__(self, code: str, message: str, *, retryable: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """The most a call can use, known before it is made."""

    input_tokens: int
    output_tokens: int | None
    """None: as many as the caller allows."""
    fixed_microusd: int = 0
    """Cost of the call whatever its length, in millionths of a US dollar."""
    input_price: float | None = 0.0
    """Millionths of a US dollar for a token of the prompt; None: not known."""
    output_price: float | None = 0.0
    """The same for a token of the completion."""


def bound_of(request: ChatRequest, input_price: float | None = 0.0, output_price: float | None = 0.0) -> Bound:
    """Return the most a call can use with any tokenizer: no tokenizer makes more tokens than there are bytes."""
    size = sum(
        len(m.content.encode()) + len(m.extra) + sum(_size(call) for call in m.tool_calls) for m in request.messages
    )
    size += sum(len(msgspec.json.encode(tool)) for tool in request.tools)
    return Bound(
        input_tokens=size + TOKENS_AROUND_MESSAGE * (len(request.messages) + len(request.tools) + 1),
        output_tokens=request.max_tokens,
        input_price=input_price,
        output_price=output_price,
    )


def _size(call: ToolCall) -> int:
    return len(call.arguments.encode("utf-8", "replace")) + len(call.name) + len(call.extra)


TOKENS_AROUND_MESSAGE = 16  # role and separators a chat template puts around a message


@runtime_checkable
class TellsContext(Protocol):
    """A model whose provider tells how long its context is."""

    async def context_tokens(self, model: str) -> int:
        """Return the tokens a prompt and its completion may have together; 0: not known."""
        ...


async def context_tokens_of(model: object, name: str) -> int:
    """Return the context length of a model; 0: not known."""
    return await model.context_tokens(name) if isinstance(model, TellsContext) else 0


class ChatModel(Protocol):
    """A provider's model. Closing the generator of `stream` ends the call at the provider."""

    provider: str

    def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream the response to a request.

        Raises:
            ModelError: the call failed; the stream ends.
        """
        ...

    async def bound(self, request: ChatRequest) -> Bound:
        """Return the most this call can use.

        Raises:
            ModelError: the provider does not tell.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
