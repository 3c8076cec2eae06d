"""An endpoint that is down is not called for a while, and every caller is told why."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
import pytest

from syntor.contracts.errors import NotFoundError
from syntor.metrics.rendering import render
from syntor.models import guard as guards
from syntor.models.breaker import BreakerPolicy
from syntor.models.chat import Bound, ChatMessage, ChatRequest, Completed, ModelError, Progress, StreamEvent, TextDelta
from syntor.models.fallback import FallbackModel
from syntor.models.guard import GUARDS, GuardedModel, GuardPolicy, Guards
from syntor.models.inference import InferenceConfig, ModelRef
from syntor.models.open_model import open_model
from syntor.models.weights import WEIGHTS

REQUEST = ChatRequest(model="m", messages=[ChatMessage(role="user", content="x")], max_tokens=10)
DOWN = ModelError("model_unavailable", "connection refused", retryable=True)


class Model:
    """A model that fails while it is told to."""

    provider = "test"

    def __init__(self, error: ModelError | None = None) -> None:
        self.error = error
        self.calls = 0

    async def close(self) -> None:
        """Do nothing."""

    async def bound(self, request: ChatRequest) -> Bound:
        """Return a bound."""
        return Bound(input_tokens=1, output_tokens=request.max_tokens)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Say a word."""
        self.calls += 1
        if self.error is not None:
            raise self.error
        yield TextDelta("word")
        yield Completed(text="word", model=request.model, provider=self.provider)


async def run(model: GuardedModel | FallbackModel, request: ChatRequest = REQUEST) -> list[StreamEvent]:
    async with aclosing(model.stream(request)) as events:
        return [event async for event in events]


async def fail(model: GuardedModel, times: int, request: ChatRequest = REQUEST) -> ModelError:
    failures: list[ModelError] = []
    for _ in range(times):
        with pytest.raises(ModelError) as caught:
            await run(model, request)
        failures.append(caught.value)
    return failures[-1]


async def test_after_five_failures_the_endpoint_is_not_called_and_the_reason_is_said() -> None:
    model = Model(DOWN)
    one = GuardedModel(model, Guards().of("openai_compatible", "http://user:secret@host:8000/v1"))
    await fail(one, 5)
    refused = await fail(one, 3)
    assert model.calls == 5
    assert refused.code == "circuit_open"
    assert not refused.retryable
    text = str(refused)
    assert text.startswith("openai_compatible at host:8000 failed 5 times in a row and is not called for 30 s more")
    assert "connection refused" in text
    assert "secret" not in text


async def test_other_endpoints_and_agents_are_called() -> None:
    known = Guards()
    await fail(GuardedModel(Model(DOWN), known.of("agent a", "http://a:1/x")), 6)
    for provider, url in (("agent b", "http://a:1/x"), ("agent a", "http://a:2/x"), ("ollama", "")):
        assert len(await run(GuardedModel(Model(), known.of(provider, url)))) == 2
    assert {(view.provider, view.state) for view in known.views()} >= {("agent a", "open"), ("agent b", "closed")}


async def test_the_next_model_is_tried_without_a_wait() -> None:
    down, known = Model(DOWN), Guards()
    first = GuardedModel(down, known.of("ollama", ""))
    both = FallbackModel([(ModelRef("ollama", "m"), first), (ModelRef("embedded", "m"), Model())])
    for _ in range(8):
        assert any(isinstance(event, Completed) for event in await run(both))
    assert down.calls == 5


@pytest.mark.parametrize(
    ("error", "request_"),
    [
        (ModelError("authentication_failed", "x"), REQUEST),
        (ModelError("rate_limited", "x", retryable=True), REQUEST),
        (ModelError("context_exceeded", "x"), REQUEST),
        (ModelError("bad_response", "x"), REQUEST),
        (ModelError("timeout", "x"), msgspec.structs.replace(REQUEST, timeout_s=0.1)),
    ],
)
async def test_a_failure_of_one_request_stops_no_other(error: ModelError, request_: ChatRequest) -> None:
    model = Model(error)
    await fail(GuardedModel(model, Guards().of("p", "")), 10, request_)
    assert model.calls == 10


async def test_it_closes_again_once_calls_succeed() -> None:
    model = Model(DOWN)
    policy = GuardPolicy(BreakerPolicy(failures=1, open_s=0.0))
    known = Guards(policy)
    guard = known.of("p", "")
    one = GuardedModel(model, guard)
    await fail(one, 1)
    assert [view.state for view in known.views()] == ["open"]
    model.error = None
    async with aclosing(one.stream(REQUEST)) as probe:
        assert await anext(probe) == TextDelta("word")
        assert [view.state for view in known.views()] == ["half_open"]
        assert "one call is trying it now" in str(await fail(one, 1))
    for _ in range(3):
        await run(one)
    assert [view.state for view in known.views()] == ["closed"]


async def test_calls_above_the_rate_wait_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    one = GuardedModel(Model(), Guards(GuardPolicy(rate=20.0)).of("p", ""))
    events = [await run(one) for _ in range(25)]
    waits = [event for call in events for event in call if isinstance(event, Progress)]
    assert waits
    assert waits[0].message.startswith("p: SYNTOR_MODEL_RATE allows 20 calls a second; waiting")
    monkeypatch.setattr(guards, "LONGEST_WAIT_S", 0.0)
    slow = GuardedModel(Model(), Guards(GuardPolicy(rate=0.01)).of("q", ""))
    await run(slow)
    refused = await fail(slow, 1)
    assert refused.code == "rate_limited"


async def test_a_breaker_is_set_by_hand_and_shown_in_metrics() -> None:
    known = Guards()
    one = GuardedModel(Model(), known.of("by hand", "http://h:1"))
    known.set("by hand", "h:1", "open")
    assert "opened by hand" in str(await fail(one, 1))
    assert b'syntor_breaker_state{endpoint="h:1",provider="by hand"} 2.0' in render()
    known.set("by hand", "h:1", "reset")
    await run(one)
    with pytest.raises(NotFoundError, match="there are: by hand h:1"):
        known.set("another", "h:1", "open")


def test_models_with_an_endpoint_are_guarded_and_the_scripted_one_is_not() -> None:
    config = InferenceConfig()
    for name in list(WEIGHTS)[:2]:
        open_model(ModelRef("embedded", name), config)
    assert {("embedded", name) for name in list(WEIGHTS)[:2]} <= {(v.provider, v.endpoint) for v in GUARDS.views()}
    assert isinstance(open_model(ModelRef("ollama", "m"), config), GuardedModel)
    assert not isinstance(open_model(ModelRef("scripted", "m"), config), GuardedModel)


async def test_a_text_without_end_is_cut_off() -> None:
    class Endless(Model):
        async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
            """Never end."""
            while True:
                self.calls += 1
                yield TextDelta("x" * 1_000_000)

    model = Endless()
    error = await fail(GuardedModel(model, Guards().of("p", "")), 1)
    assert error.code == "bad_response"
    assert "more than 16777216 characters" in str(error)
    assert model.calls == 17
