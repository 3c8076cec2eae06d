"""What an external agent streams: text is never lost for a bookkeeping field, and no answer adds to a budget."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from syntor.agentkit.context import TaskContext
from syntor.agentkit.model_resolver import ResolvedModel
from syntor.agents.external_gateway.stream import AgentStream
from syntor.contracts.budget.v1 import BudgetReserved, BudgetSettled
from syntor.contracts.output.v1 import AgentProgress
from syntor.contracts.run.v1 import Budget, UserInput
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed, LlmCallDone, Usage
from syntor.models.chat import Bound, ChatMessage, ChatRequest, Completed, ModelError, StreamEvent, TextDelta, bound_of
from syntor.models.inference import ModelRef
from syntor.runtime.sse import parse
from syntor.testing.memory import MemoryStore
from syntor.testing.tasks import assign, delivery, task_worker

ODD = [
    '{"input_tokens": 10000000000000000000}',
    '{"input_tokens": -1000000}',
    '{"output_tokens": NaN}',
    '{"cost_microusd": Infinity}',
    '{"output_tokens": 1e308}',
    '{"input_tokens": 0.5}',
    '{"input_tokens": "many"}',
    '{"input_tokens": 1' + "0" * 5000 + "}",
    "[1]",
    '"none"',
]


def _read(sent: str) -> list[StreamEvent]:
    stream = AgentStream("painter", retryable=False)
    events = [event for each in parse([sent.encode()]) for event in stream.feed(each)]
    stream.finish()
    return events


@pytest.mark.parametrize("usage", ODD)
def test_usage_that_cannot_be_is_left_out_and_named(usage: str) -> None:
    delta = 'event: delta\ndata: {"text": "two"}\n\n'
    *said, completed = _read(f'{delta}event: done\ndata: {{"final_message": "two", "usage": {usage}}}\n\n')
    assert said == [TextDelta("two")]
    assert isinstance(completed, Completed)
    assert (completed.text, completed.usage) == ("two", Usage())
    assert completed.usage_refused


@pytest.mark.parametrize("usage", ["null", "{}", '{"input_tokens": null, "other": 5}', '{"input_tokens": 0.0}'])
def test_missing_usage_is_none(usage: str) -> None:
    [said, completed] = _read(f'event: done\ndata: {{"final_message": "two", "usage": {usage}}}\n\n')
    assert said == TextDelta("two")
    assert isinstance(completed, Completed)
    assert (completed.usage, completed.usage_refused) == (Usage(), "")


def test_separators_of_other_standards_are_part_of_an_answer() -> None:
    text = "a\u2028b\x85c\x0cd"
    [said, _] = _read(f'event: done\ndata: {{"final_message": "{text}"}}\n\n'.replace("\x0c", "\\f"))
    assert said == TextDelta(text)


@pytest.mark.parametrize("sent", ["event: done\ndata: {\n\n", 'event: done\ndata: {"final_message": 7}\n\n'])
def test_what_is_no_answer_is_refused(sent: str) -> None:
    with pytest.raises(ModelError, match="painter sent an invalid done event"):
        _read(sent)


class _Sending:
    """A model that sends what a test says."""

    provider = "http"

    def __init__(self, *events: StreamEvent) -> None:
        self._events = events

    async def close(self) -> None:
        """Do nothing."""

    async def bound(self, request: ChatRequest) -> Bound:
        """Return the bound of the request."""
        return bound_of(request)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Send."""
        del request
        for event in self._events:
            yield event


async def _work(home: Path, *events: StreamEvent) -> MemoryStore:
    """Have a task of one call to such a model done; return the log."""
    store = MemoryStore()
    request = UserInput(agent="worker", queue="worker", content="hello", budget=Budget(max_tokens=5000))

    async def invoke(task: TaskContext) -> str:
        model = ResolvedModel(ModelRef("http", "painter"), _Sending(*events))
        return (await task.chat([ChatMessage(role="user", content="hello")], model=model)).text

    await task_worker(store, home, invoke=invoke).handle(delivery(await assign(store, request)))
    return store


async def _events(store: MemoryStore, filter_subject: str = "syntor.events.>") -> list[object]:
    return [recorded.event async for recorded in store.load(filter_subject)]


async def test_a_call_whose_usage_is_refused_counts_as_all_that_was_reserved(tmp_path: Path) -> None:
    refused = Completed(text="two", usage_refused="input_tokens is -1000000", provider="http", model="painter")
    events = await _events(await _work(tmp_path, TextDelta("two"), refused))

    [reserved] = [event for event in events if isinstance(event, BudgetReserved)]
    [settled] = [event for event in events if isinstance(event, BudgetSettled)]
    assert settled.tokens == reserved.tokens > 0
    [done] = [event for event in events if isinstance(event, AgentInvokeDone)]
    assert (done.final_message, done.usage) == ("two", Usage())
    [told] = [event for event in events if isinstance(event, AgentProgress)]
    assert "input_tokens is -1000000" in told.message


async def test_what_cannot_be_recorded_fails_the_call_with_the_reason(tmp_path: Path) -> None:
    huge = Completed(text="x" * (16 * 1024 * 1024 + 1), provider="http", model="painter")
    events = await _events(await _work(tmp_path, huge))

    [failed] = [event for event in events if isinstance(event, AgentInvokeFailed)]
    assert failed.code == "bad_response"
    assert "cannot be recorded" in failed.message


async def test_the_largest_usage_of_all_fits(tmp_path: Path) -> None:
    most = Usage(input_tokens=10**12, output_tokens=10**12, cost_microusd=10**15)
    events = await _events(await _work(tmp_path, Completed(text="x", usage=most, provider="http", model="m" * 1000)))

    assert [event.usage for event in events if isinstance(event, AgentInvokeDone)] == [most]
    assert [event.tokens for event in events if isinstance(event, BudgetSettled)] == [10**12]
    assert [event.usage for event in events if isinstance(event, LlmCallDone)] == [most]


async def test_an_error_with_odd_texts_fails_the_task_and_is_recorded(tmp_path: Path) -> None:
    class _Failing(_Sending):
        async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
            """Fail."""
            raise ModelError("c" * 1000, "a\ud800b" + "x" * 100_000)
            yield TextDelta("")

    store = MemoryStore()

    async def invoke(task: TaskContext) -> str:
        model = ResolvedModel(ModelRef("http", "painter"), _Failing())
        return (await task.chat([ChatMessage(role="user", content="hello")], model=model)).text

    request = UserInput(agent="worker", queue="worker", content="hello")
    await task_worker(store, tmp_path, invoke=invoke).handle(delivery(await assign(store, request)))
    [failed] = [event for event in await _events(store) if isinstance(event, AgentInvokeFailed)]
    assert failed.message.startswith("a\ufffdbx")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("out_of_paint", "out_of_paint"),
        ("a b", "agent_error"),
        ("x\\n\\u001b[2J", "agent_error"),
        ("c" * 65, "agent_error"),
    ],
)
def test_a_code_that_is_none_is_not_shown(sent: str, code: str) -> None:
    with pytest.raises(ModelError, match="no paint") as caught:
        _read(f'event: error\ndata: {{"code": "{sent}", "message": "no paint"}}\n\n')
    assert caught.value.code == code
