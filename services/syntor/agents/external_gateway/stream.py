"""Reads the server-sent events of an external agent: what each means for the task. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.task.v1 import Usage
from syntor.models.chat import Completed, ModelError, Progress, StreamEvent, TextDelta
from syntor.models.wire import Metered, decode, metered
from syntor.runtime.sse import ServerEvent


class _Delta(msgspec.Struct):
    text: str


_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z", re.ASCII)  # people and metrics see it


class _State(msgspec.Struct):
    state: str = ""
    message: str = ""


class _Done(msgspec.Struct):
    final_message: str
    usage: Any = None


class _Error(msgspec.Struct):
    code: str = "agent_error"
    message: str = ""


class _Usage(msgspec.Struct):
    input_tokens: Any = None
    output_tokens: Any = None
    cached_input_tokens: Any = None
    cost_microusd: Any = None


class AgentStream:
    """Turns the events of one response into those of a model call; `finish` checks that it was complete."""

    def __init__(self, agent_id: str, *, retryable: bool) -> None:
        """Expect the response of an agent.

        Args:
            retryable: whether the agent may be called again where a response is incomplete.
        """
        self._agent_id = agent_id
        self._retryable = retryable
        self._text: list[str] = []
        self.ended = False

    def finish(self) -> None:
        """Check that the response was complete, after its last line.

        Raises:
            ModelError: it ended without `done`.
        """
        if not self.ended:
            text = f"{self._agent_id} ended its response without `done`"
            raise ModelError("bad_response", text, retryable=self._retryable)

    def feed(self, event: ServerEvent) -> Iterator[StreamEvent]:
        """Yield what one event says.

        Raises:
            ModelError: the agent reported an error, or sent an invalid event.
        """
        data = event.data
        match event.name.strip():
            case "delta":
                text = self._read(data, _Delta).text
                self._text.append(text)
                yield TextDelta(text)
            case "state":
                state = self._read(data, _State)
                yield Progress(state.message or state.state)
            case "done":
                done = self._read(data, _Done)
                self.ended = True
                streamed = "".join(self._text)
                if done.final_message.startswith(streamed) and done.final_message != streamed:
                    yield TextDelta(done.final_message[len(streamed) :])
                used = _metered(done.usage)
                yield Completed(
                    text=done.final_message,
                    usage=used.usage,
                    usage_refused=used.refused,
                    model=self._agent_id,
                    provider="http",
                )
            case "error":
                error = self._read(data, _Error)
                code = error.code if _CODE.match(error.code) else _Error().code
                raise ModelError(code, f"{self._agent_id}: {error.message}")
            case _:
                return  # later versions of the protocol may send more

    def _read(self, data: str, kind: type[Any]) -> Any:
        try:
            return decode(data, kind)
        except UNDECODABLE as exc:
            text = f"{self._agent_id} sent an invalid {kind.__name__[1:].lower()} event: {exc}"
            raise ModelError("bad_response", text) from exc


def _metered(sent: object) -> Metered:
    try:
        usage = msgspec.convert({} if sent is None else sent, _Usage)
    except msgspec.ValidationError as exc:
        return Metered(Usage(), f"usage: {exc}")
    return metered(usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.cost_microusd)
