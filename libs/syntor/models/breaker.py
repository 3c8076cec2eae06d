"""Pure circuit breaker and token bucket of one endpoint; the time is passed in.

closed: calls pass; `failures` in a row open it. open: no call passes for `open_s`. half_open: one call at a time passes
as a probe; `successes` in a row close it, one failure opens it again.
"""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["closed", "half_open", "open"]
PROBE_WAIT_S = 1.0  # while another call is the probe


class BreakerPolicy(msgspec.Struct, frozen=True):
    """When a breaker opens and closes."""

    failures: int = 5
    """Failures in a row that open it; 0: it never opens."""
    open_s: float = 30.0
    """Seconds until a probe."""
    successes: int = 3
    """Successful probes in a row that close it."""


class Permit(msgspec.Struct, frozen=True):
    """What a call that passed holds until it ends."""

    period: int
    """Period of the breaker's state it passed in; the outcome of an older one says nothing any more."""


class Breaker:
    """Decides whether calls to one endpoint pass."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self.state: State = "closed"
        self.reason = ""
        """The last failure; empty: none since it closed."""
        self._policy = policy
        self._period = 0
        self._count = 0
        """Failures in a row while closed, successes in a row while half open."""
        self._open_until = 0.0
        self._forced = False
        self._probe: Permit | None = None

    @property
    def failures(self) -> int:
        """Failures in a row that open it."""
        return self._policy.failures

    def wait_s(self, now: float) -> float:
        """Return the seconds until a call may pass; 0: one may pass now."""
        if self.state == "open":
            return float("inf") if self._forced else max(self._open_until - now, 0.0)
        return PROBE_WAIT_S if self._probe is not None else 0.0

    def admit(self, now: float) -> Permit | None:
        """Return the permit of a call that passes, None where it does not."""
        if self.wait_s(now) > 0:
            return None
        if self.state == "open":
            self._enter("half_open")
        permit = Permit(self._period)
        if self.state == "half_open":
            self._probe = permit
        return permit

    def succeed(self, permit: Permit) -> None:
        """Note that a call succeeded."""
        if permit.period != self._period:
            return
        self._probe = None
        if self.state == "closed":
            self._count = 0
            return
        self._count += 1
        if self._count >= self._policy.successes:
            self.reset()

    def fail(self, permit: Permit, reason: str, now: float) -> None:
        """Note that a call failed for a reason that concerns all calls to the endpoint."""
        if permit.period != self._period:
            return
        self.reason = reason
        self._count += 1
        if self.state == "half_open" or 0 < self._policy.failures <= self._count:
            self._open_until = now + self._policy.open_s
            self._enter("open")

    def release(self, permit: Permit) -> None:
        """Note that a call ended without saying anything about the endpoint: cancelled, or refused for itself."""
        if permit.period == self._period:
            self._probe = None

    def reset(self) -> None:
        """Close it."""
        self.reason = ""
        self._enter("closed")

    def force_open(self, reason: str) -> None:
        """Open it until `reset`."""
        self._enter("open")
        self._forced, self.reason = True, reason

    def _enter(self, state: State) -> None:
        self.state, self._period, self._count, self._probe, self._forced = state, self._period + 1, 0, None, False


class TokenBucket:
    """Calls to one endpoint a second, with bursts of one second's calls and at least one."""

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._tokens = self._burst = max(per_second, 1.0)
        self._at = 0.0

    def take(self, now: float, longest_s: float) -> float:
        """Take a token and return the seconds to wait for it; above `longest_s` none is taken."""
        if not self._rate:
            return 0.0
        self._tokens = min(self._burst, self._tokens + max(now - self._at, 0.0) * self._rate)
        self._at = now
        wait_s = max((1.0 - self._tokens) / self._rate, 0.0)
        if wait_s <= longest_s:
            self._tokens -= 1.0
        return wait_s
