"""Parses the server-sent events of an external agent: a pure parser from lines to events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.task.v1 import Usage
from syntor.models.chat import Completed, ModelError, Progress, StreamEvent, TextDelta


class _Delta(msgspec.Struct):
    text: str


class _State(msgspec.Struct):
    state: str = ""
    message: str = ""


class _Done(msgspec.Struct):
    final_message: str
    usage: Usage = Usage()


class _Error(msgspec.Struct):
    code: str = "agent_error"
    message: str = ""


class AgentStream:
    """Parses the lines of one response into events; `finish` checks that it was complete."""

    def __init__(self, agent_id: str, *, retryable: bool) -> None:
        """Expect the response of an agent.

        Args:
            retryable: whether the agent may be called again where a response is incomplete.
        """
        self._agent_id = agent_id
        self._retryable = retryable
        self._event = ""
        self._data: list[str] = []
        self._text: list[str] = []
        self.ended = False

    def feed(self, line: str) -> Iterator[StreamEvent]:
        """Parse one line, without its line end.

        Raises:
            ModelError: the agent reported an error, or sent an invalid event.
        """
        if line.startswith("event:"):
            self._event = line[6:].strip()
        elif line.startswith("data:"):
            self._data.append(line[5:].removeprefix(" "))
        elif not line and self._data:
            event, data = self._event or "message", "\n".join(self._data)
            self._event, self._data = "", []
            yield from self._dispatch(event, data)

    def finish(self) -> None:
        """Check that the response was complete, after its last line.

        Raises:
            ModelError: it ended without `done`.
        """
        if not self.ended:
            text = f"{self._agent_id} ended its response without `done`"
            raise ModelError("bad_response", text, retryable=self._retryable)

    def _dispatch(self, event: str, data: str) -> Iterator[StreamEvent]:
        match event:
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
                yield Completed(text=done.final_message, usage=done.usage, model=self._agent_id, provider="http")
            case "error":
                error = self._read(data, _Error)
                raise ModelError(error.code, f"{self._agent_id}: {error.message}")
            case _:
                return  # later versions of the protocol may send more

    def _read(self, data: str, kind: type[Any]) -> Any:
        try:
            return msgspec.json.decode(data, type=kind)
        except UNDECODABLE as exc:
            text = f"{self._agent_id} sent an invalid {kind.__name__[1:].lower()} event: {exc}"
            raise ModelError("bad_response", text) from exc
