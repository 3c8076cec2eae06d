"""Who may ask what: bearer tokens with scopes, and how often.

On loopback no token is needed, but one that is sent must be right. On any other address every request needs one, but
for the API's description.
"""

from __future__ import annotations

import time
from collections import OrderedDict

import msgspec

from syntor.ingress.errors import ForbiddenError, TooManyRequestsError, UnauthorizedError
from syntor.ingress.exchange import Exchange
from syntor.runtime.tokens import TokenFile

OPEN_PATHS = ("/openapi.json", "/docs", "/problems/")
_KEPT_BUCKETS = 10_000


class _Bucket(msgspec.Struct):
    left: float
    at: float


class RateLimit:
    """Lets through so many requests a second for each caller, and bursts of ten times that."""

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._burst = per_second * 10
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def check(self, caller: str, now: float) -> None:
        """Count a request.

        Raises:
            TooManyRequestsError: there were too many; says when to try again.
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
    """The check of one server."""

    def __init__(self, tokens: TokenFile, *, required: bool, per_second: float) -> None:
        """Prepare.

        Args:
            required: whether requests without a token are refused.
            per_second: requests a token, or an address, may make; 0: any number.
        """
        self._tokens = tokens
        self._required = required
        self._limit = RateLimit(per_second)

    def check(self, exchange: Exchange, template: str) -> None:
        """Let a request pass.

        Raises:
            UnauthorizedError: it has no token, or a wrong one.
            ForbiddenError: its token does not have the scope.
            TooManyRequestsError: its caller asks too often.
        """
        if template.startswith(OPEN_PATHS):
            return
        given = exchange.header(b"authorization")
        if not given:
            if self._required:
                raise UnauthorizedError("this server needs a token: Authorization: Bearer syntor_...")
            self._limit.check(exchange.client, time.monotonic())
            return
        scheme, _, text = given.partition(" ")
        token = self._tokens.find(text.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise UnauthorizedError("the token is wrong, revoked or expired; syntor tokens list shows those there are")
        self._limit.check(token.id, time.monotonic())
        scope = scope_of(exchange.method, template)
        if not token.allows(scope):
            raise ForbiddenError(f"token {token.name!r} has no scope {scope}; it has {', '.join(token.scopes)}")
        exchange.caller = token.name


def scope_of(method: str, template: str) -> str:
    """Return the scope a route needs."""
    if method in ("GET", "HEAD"):
        return "read"
    if "/approvals/" in template or "/tool_results/" in template:
        return "approve"
    if template.startswith(("/v1/agents", "/v1/dead_letters")):
        return "admin"
    return "run"
