"""Requests to a model and the events of its response, the same for every provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Literal, Protocol

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


_FINISH_REASONS: dict[str, FinishReason] = {
    "length": "length", "max_tokens": "length", "tool_calls": "tool_calls", "tool_use": "tool_calls",
    "function_call": "tool_calls", "content_filter": "content_filter", "safety": "content_filter",
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
        len(m.content.encode()) + sum(len(c.arguments) + len(c.name) for c in m.tool_calls) for m in request.messages
    )
    size += sum(len(msgspec.json.encode(tool)) for tool in request.tools)
    return Bound(
        input_tokens=size + TOKENS_AROUND_MESSAGE * (len(request.messages) + len(request.tools) + 1),
        output_tokens=request.max_tokens,
        input_price=input_price,
        output_price=output_price,
    )


TOKENS_AROUND_MESSAGE = 16  # role and separators a chat template puts around a message


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
