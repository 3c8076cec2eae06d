"""Guards calls to models and external agents: a circuit breaker and a rate per provider and endpoint of this process.

A run with an endpoint that is down fails immediately with the reason, or goes to the next model of the agent, instead
of waiting for another time-out; the endpoint is not kept down by calls. A response without end is cut off before it
fills the memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from syntor.contracts.bounds import MAX_TEXT
from syntor.contracts.errors import NotFoundError
from syntor.metrics import Counter, Gauge
from syntor.models.breaker import Breaker, BreakerPolicy, Permit, State, TokenBucket
from syntor.models.chat import (
    Bound,
    ChatModel,
    ChatRequest,
    Completed,
    ModelError,
    Progress,
    StreamEvent,
    TextDelta,
    context_tokens_of,
)
from syntor.runtime.telemetry import get_logger

CIRCUIT_OPEN = "circuit_open"
LONGEST_WAIT_S = 60.0  # for the rate; a longer wait is an error that names it
_LEAST_TIMEOUT_S = 30.0  # a shorter time-out is a request's own wish, and says nothing about the endpoint
_KEPT = 1000
_NUMBERS: dict[State, int] = {"closed": 0, "half_open": 1, "open": 2}

_STATE = Gauge(
    "syntor_breaker_state", "Circuit breaker of an endpoint: 0 closed, 1 half open, 2 open", ("provider", "endpoint")
)
_REFUSED = Counter("syntor_breaker_refused_total", "Calls refused by an open circuit breaker", ("provider", "endpoint"))
_OPENED = Counter("syntor_breaker_opened_total", "Times a circuit breaker opened", ("provider", "endpoint"))
_log = get_logger()


class GuardPolicy(msgspec.Struct, frozen=True):
    """Limits of the calls to one endpoint."""

    breaker: BreakerPolicy = BreakerPolicy()
    rate: float = 0.0
    """Calls a second; 0: no limit."""


class BreakerView(msgspec.Struct, frozen=True):
    """State of one breaker, for people."""

    provider: str
    endpoint: str
    state: State
    retry_in_s: float
    """Seconds until a call may pass."""
    reason: str
    """Its last failure."""


class Guard:
    """Breaker and rate of one endpoint."""

    def __init__(self, provider: str, endpoint: str, policy: GuardPolicy) -> None:
        self.provider = provider
        self.endpoint = endpoint
        self.breaker = Breaker(policy.breaker)
        self._bucket = TokenBucket(policy.rate)
        self._rate = policy.rate
        self._labels = (provider, endpoint)
        self._report()

    @property
    def view(self) -> BreakerView:
        """State of the breaker."""
        breaker = self.breaker
        wait_s = round(breaker.wait_s(time.monotonic()), 1)
        return BreakerView(self.provider, self.endpoint, breaker.state, wait_s, breaker.reason)

    def admit(self) -> Permit:
        """Return the permit of a call.

        Raises:
            ModelError: `circuit_open`: the breaker is open.
        """
        permit = self.breaker.admit(time.monotonic())
        self._report()
        if permit is None:
            _REFUSED.labels(*self._labels).inc()
            raise self._refusal()
        return permit

    async def pace(self) -> AsyncGenerator[Progress, None]:
        """Wait for the rate; announces a wait.

        Raises:
            ModelError: `rate_limited`: the wait would be too long.
        """
        wait_s = self._bucket.take(time.monotonic(), LONGEST_WAIT_S)
        where = f"{self.provider}: SYNTOR_MODEL_RATE allows {self._rate:g} calls a second"
        if wait_s > LONGEST_WAIT_S:
            raise ModelError(
                "rate_limited", f"{where}, and calls wait for {wait_s:.0f} s already", retry_after_s=wait_s
            )
        if wait_s:
            yield Progress(f"{where}; waiting {wait_s:.1f} s")
            await asyncio.sleep(wait_s)

    def settle(self, permit: Permit, error: ModelError | None) -> None:
        """Note the end of a call."""
        if error is None:
            self.breaker.succeed(permit)
        else:
            before = self.breaker.state
            self.breaker.fail(permit, str(error), time.monotonic())
            if self.breaker.state == "open" != before:
                _OPENED.labels(*self._labels).inc()
                _log.warning("breaker_opened", provider=self.provider, endpoint=self.endpoint, code=error.code)
        self._report()

    def set(self, action: Literal["reset", "open"]) -> None:
        """Close the breaker, or open it until it is reset."""
        if action == "reset":
            self.breaker.reset()
        else:
            self.breaker.force_open("it was opened by hand")
        self._report()

    def release(self, permit: Permit) -> None:
        """Note that a call ended without saying anything about the endpoint."""
        self.breaker.release(permit)

    def _report(self) -> None:
        _STATE.labels(*self._labels).set(_NUMBERS[self.breaker.state])

    def _refusal(self) -> ModelError:
        breaker, where = self.breaker, f"{self.provider} at {self.endpoint}"
        wait_s = breaker.wait_s(time.monotonic())
        if breaker.state == "half_open":
            text = f"{where} failed, and one call is trying it now: try again in some seconds"
        elif wait_s == float("inf"):
            text = f"{where} is not called: {breaker.reason}, and stays open until it is reset"
        else:
            text = (
                f"{where} failed {breaker.failures} times in a row and is not called for {wait_s:.0f} s more: "
                f"try again then, or use another model. The last failure: {breaker.reason}"
            )
        return ModelError(CIRCUIT_OPEN, text, retry_after_s=wait_s)


class Guards:
    """The guards of one process, by provider and endpoint."""

    def __init__(self, policy: GuardPolicy = GuardPolicy()) -> None:  # noqa: B008 - frozen
        self._policy = policy
        self._guards: dict[tuple[str, str], Guard] = {}

    def configure(self, policy: GuardPolicy) -> None:
        """Set the limits, of guards that are made from now on."""
        self._policy = policy

    def of(self, provider: str, url: str) -> Guard:
        """Return the guard of an endpoint.

        Args:
            url: its address; empty: the provider's own.
        """
        endpoint = urlsplit(url).netloc.rpartition("@")[2] or provider
        key = (provider, endpoint)
        if key not in self._guards:
            if len(self._guards) >= _KEPT:
                del self._guards[next(iter(self._guards))]
            self._guards[key] = Guard(provider, endpoint, self._policy)
        return self._guards[key]

    def set(self, provider: str, endpoint: str, action: Literal["reset", "open"]) -> None:
        """Close a breaker, or open it until it is reset.

        Raises:
            NotFoundError: there is none; names those there are.
        """
        guard = self._guards.get((provider, endpoint))
        if guard is None:
            known = ", ".join(f"{a} {b}" for a, b in self._guards) or "none"
            raise NotFoundError(f"no breaker of {provider!r} and {endpoint!r}; there are: {known}")
        guard.set(action)

    def views(self) -> list[BreakerView]:
        """Return the state of all breakers."""
        return [guard.view for guard in self._guards.values()]


GUARDS = Guards()
"""Those of this process: a provider that fails for one agent fails for the others too."""


class GuardedModel:
    """`ChatModel` whose calls pass a guard."""

    def __init__(self, model: ChatModel, guard: Guard) -> None:
        self.provider = model.provider
        self._model = model
        self._guard = guard

    async def close(self) -> None:
        """Close connections."""
        await self._model.close()

    async def context_tokens(self, model: str) -> int:
        """Return the context length; 0: not known."""
        return await context_tokens_of(self._model, model)

    async def bound(self, request: ChatRequest) -> Bound:
        """Return the most a call can use."""
        return await self._model.bound(request)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream the response; see `ChatModel.stream`.

        Raises:
            ModelError: `circuit_open` or `rate_limited` without a call, or as the model.
        """
        guard = self._guard
        permit = guard.admit()
        settled = False
        try:
            async with aclosing(guard.pace()) as waits:
                async for wait in waits:
                    yield wait
            written = 0
            async with aclosing(self._model.stream(request)) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        written += len(event.text)
                        if written > MAX_TEXT:
                            raise ModelError("bad_response", f"{self.provider} wrote more than {MAX_TEXT} characters")
                    if isinstance(event, Completed):
                        settled = True
                        guard.settle(permit, None)
                    yield event
        except ModelError as exc:
            if not settled and concerns_endpoint(exc, request):
                settled = True
                guard.settle(permit, exc)
            raise
        finally:
            if not settled:
                guard.release(permit)


def concerns_endpoint(error: ModelError, request: ChatRequest) -> bool:
    """Return whether a failure says that calls to the endpoint fail, whatever they are about."""
    match error.code:
        case "model_unavailable":
            return True
        case "timeout":
            return request.timeout_s >= _LEAST_TIMEOUT_S
        case _:
            return error.code == "bad_response" and error.retryable
