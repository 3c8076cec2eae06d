"""Access control: bearer tokens with scopes, and rate limits.

On loopback no token is needed, but one that is sent must be valid. On any other address every operation that has a
scope needs one. Requests without a valid token are limited per address. A valid token is accepted immediately, whatever
else comes from its address, so that one client with an old token does not lock out those behind the same proxy;
guessing is hopeless anyway: a token has 256 random bits.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from functools import partial
from typing import Literal

import msgspec
from starlette.requests import Request

from syntor.ingress.http.addresses import network_of
from syntor.ingress.http.context import context_of
from syntor.ingress.http.errors import ForbiddenError, TooManyRequestsError, UnauthorizedError
from syntor.runtime.tokens import Token, TokenFile

Scope = Literal["read", "run", "approve", "admin"]
"""What a token allows; see `syntor.runtime.tokens.SCOPES`."""
_KEPT_BUCKETS = 10_000
_MINUTE_S = 60.0


WRONG_TOKENS = 30
"""Requests a minute with a wrong or no token, of one address, unless set: several clients that retry, no search."""


class _Bucket(msgspec.Struct):
    left: float
    at: float


class RateLimit:
    """Token bucket per caller: a rate in requests a second, and bursts."""

    def __init__(self, per_second: float, *, burst_s: float = 10.0, of: str = "requests") -> None:
        """Prepare.

        Args:
            per_second: requests a second; 0: no limit.
            burst_s: a burst has the requests of so many seconds.
            of: what is counted, for the error.
        """
        self._rate = per_second
        self._burst = per_second * burst_s
        self._text = f"more than {per_second:g} {of} a second" if burst_s < _MINUTE_S else ""
        self._text = self._text or f"more than {per_second * _MINUTE_S:g} {of} a minute"
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def check(self, caller: str, now: float) -> None:
        """Count a request.

        Raises:
            TooManyRequestsError: the bucket is empty; has the seconds until it is not.
        """
        if not self._rate:
            return
        bucket = self._buckets.setdefault(caller, _Bucket(self._burst, now))
        self._buckets.move_to_end(caller)
        if len(self._buckets) > _KEPT_BUCKETS:
            self._buckets.popitem(last=False)
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.left < 1:
            raise TooManyRequestsError(self._text, (1 - bucket.left) / self._rate)
        bucket.left -= 1


class Access:
    """The access control of one server."""

    def __init__(
        self, tokens: TokenFile, *, required: bool, per_second: float, wrong_tokens: int = WRONG_TOKENS
    ) -> None:
        """Prepare.

        Args:
            required: whether requests without a token are refused.
            per_second: requests a second of one token, or of one address without a token; 0: no limit.
            wrong_tokens: requests a minute of one address that are refused for their token; 0: no limit.
        """
        self._tokens = tokens
        self._required = required
        self._limit = RateLimit(per_second)
        self._repeats = RateLimit(per_second)
        self._wrong = RateLimit(wrong_tokens / _MINUTE_S, burst_s=_MINUTE_S, of="requests with a wrong or no token")

    def check(self, request: Request, scope: Scope, *, may_repeat: bool = False) -> None:
        """Accept a request to an operation that needs `scope`; its context gets the caller.

        Args:
            may_repeat: the request has an idempotency key: above the rate, and up to the same rate once more, it is
                accepted with a `refusal` in its context, which concerns it unless it repeats another one.

        Raises:
            UnauthorizedError: it has no token, or an invalid one.
            ForbiddenError: its token does not have the scope.
            TooManyRequestsError: its caller exceeds the rate, or its address that of wrong tokens.
        """
        given = request.headers.get("authorization", "")
        if not given and not self._required:
            self._count(request, _address(request), may_repeat)
            return
        scheme, _, text = given.partition(" ")
        token = self._tokens.find(text.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            self._wrong.check(_address(request), time.monotonic())
            if not given:
                raise UnauthorizedError("this server needs a token: Authorization: Bearer syntor_...")
            raise UnauthorizedError("the token is wrong, revoked or expired; `syntor tokens list` shows the valid ones")
        self._count(request, token.id, may_repeat)
        _require(token, scope)
        context = context_of(request)
        context.caller, context.recheck = token.name, partial(self._recheck, text.strip(), scope)

    def _recheck(self, text: str, scope: Scope) -> None:
        """Check a token again.

        Raises:
            UnauthorizedError: it was revoked, or has expired.
            ForbiddenError: it does not have the scope any more.
        """
        token = self._tokens.find(text)
        if token is None:
            raise UnauthorizedError("the token was revoked, or has expired")
        _require(token, scope)

    def _count(self, request: Request, caller: str, may_repeat: bool) -> None:
        now = time.monotonic()
        try:
            self._limit.check(caller, now)
        except TooManyRequestsError as exc:
            if not may_repeat:
                raise
            self._repeats.check(caller, now)
            context_of(request).refusal = exc


def _require(token: Token, scope: Scope) -> None:
    if not token.allows(scope):
        raise ForbiddenError(f"token {token.name!r} has no scope {scope}; it has {', '.join(token.scopes)}")


def _address(request: Request) -> str:
    return network_of(request.client.host if request.client else "")
