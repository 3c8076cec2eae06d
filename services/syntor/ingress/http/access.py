"""Access control: bearer tokens with scopes, and a rate limit per caller.

On loopback no token is needed, but one that is sent must be valid. On any other address every operation that has a
scope needs one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Literal

import msgspec
from starlette.requests import Request

from syntor.ingress.http.context import context_of
from syntor.ingress.http.errors import ForbiddenError, TooManyRequestsError, UnauthorizedError
from syntor.runtime.tokens import TokenFile

Scope = Literal["read", "run", "approve", "admin"]
"""What a token allows; see `syntor.runtime.tokens.SCOPES`."""
_KEPT_BUCKETS = 10_000


class _Bucket(msgspec.Struct):
    left: float
    at: float


class RateLimit:
    """Token bucket per caller: a rate in requests a second, and bursts of ten times that."""

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._burst = per_second * 10
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
            raise TooManyRequestsError(f"more than {self._rate:g} requests a second", (1 - bucket.left) / self._rate)
        bucket.left -= 1


class Access:
    """The access control of one server."""

    def __init__(self, tokens: TokenFile, *, required: bool, per_second: float) -> None:
        """Prepare.

        Args:
            required: whether requests without a token are refused.
            per_second: requests a second of one token, or of one address without a token; 0: no limit.
        """
        self._tokens = tokens
        self._required = required
        self._limit = RateLimit(per_second)

    def check(self, request: Request, scope: Scope) -> None:
        """Accept a request to an operation that needs `scope`; its context gets the caller.

        Raises:
            UnauthorizedError: it has no token, or an invalid one.
            ForbiddenError: its token does not have the scope.
            TooManyRequestsError: its caller exceeds the rate.
        """
        given = request.headers.get("authorization", "")
        if not given:
            if self._required:
                raise UnauthorizedError("this server needs a token: Authorization: Bearer syntor_...")
            self._limit.check(request.client.host if request.client else "", time.monotonic())
            return
        scheme, _, text = given.partition(" ")
        token = self._tokens.find(text.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise UnauthorizedError("the token is wrong, revoked or expired; `syntor tokens list` shows the valid ones")
        self._limit.check(token.id, time.monotonic())
        if not token.allows(scope):
            raise ForbiddenError(f"token {token.name!r} has no scope {scope}; it has {', '.join(token.scopes)}")
        context_of(request).caller = token.name
