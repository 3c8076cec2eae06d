"""Access control: bearer tokens with scopes, the local user's key, and rate limits.

Every operation that has a scope needs a token; the key file is one for connections of this machine. On loopback reading
may be open without, to processes of the account the server runs as. Requests without a valid token are limited per
address. A valid token is accepted immediately, whatever else comes from its address, so that one client with an old
token does not lock out those behind the same proxy; guessing is hopeless anyway: a token has 256 random bits.
"""

from __future__ import annotations

import shlex
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Literal

import msgspec
from starlette.requests import Request

from syntor.contracts.errors import ConfigurationError
from syntor.ingress.http.addresses import network_of
from syntor.ingress.http.context import context_of
from syntor.ingress.http.errors import ForbiddenError, TooManyRequestsError, UnauthorizedError
from syntor.ingress.http.origin import is_loopback
from syntor.runtime.local_key import KeyFile
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


OpenTo = Callable[[Request], bool]
"""Returns whether the client of a request may read without a token."""


class Access:
    """The access control of one server."""

    def __init__(
        self,
        tokens: TokenFile,
        key: KeyFile,
        *,
        reads_open: OpenTo | None = None,
        per_second: float = 0.0,
        wrong_tokens: int = WRONG_TOKENS,
    ) -> None:
        """Prepare.

        Args:
            key: of the local user; valid on connections of this machine only.
            reads_open: who may read without a token; None: no client.
            per_second: requests a second of one token, or of one address without a token; 0: no limit.
            wrong_tokens: requests a minute of one address that are refused for their token; 0: no limit.
        """
        self._tokens = tokens
        self._key = key
        self._reads_open = reads_open
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
        if not given and scope == "read" and self._reads_open is not None and self._reads_open(request):
            self._count(request, _address(request), may_repeat)
            return
        scheme, _, text = given.partition(" ")
        local = _is_local(request)
        token = self._find(text.strip(), local) if scheme.lower() == "bearer" else None
        if token is None:
            self._wrong.check(_address(request), time.monotonic())
            raise UnauthorizedError(self._refusal(request, bool(given), local))
        self._count(request, token.id, may_repeat)
        _require(token, scope)
        context = context_of(request)
        context.ceiling = token.ceiling
        context.caller, context.recheck = token.name, partial(self._recheck, text.strip(), scope, local)

    def _find(self, text: str, local: bool) -> Token | None:
        """Return the token of a text, or the local user."""
        found = self._tokens.find(text)
        if found is not None or not local:
            return found
        try:
            return self._key.find(text)
        except ConfigurationError as exc:
            raise UnauthorizedError(str(exc)) from exc

    def _refusal(self, request: Request, given: bool, local: bool) -> str:
        """Return what a client without a valid token is told: where its token is, and how it is sent."""
        if given:
            text = "the token is wrong, revoked or expired; `syntor tokens list` shows the valid ones"
            return text + (f", and {self._key.path} holds the key of the local user" if local else "")
        if not local:
            return "this server needs a token: Authorization: Bearer syntor_..."
        url, path = f"{request.url.scheme}://{request.headers.get('host', '')}{request.url.path}", self._key.path
        return (
            f"this needs the key in {path}, which the `syntor` command sends by itself: "
            f'curl -H "Authorization: Bearer $(cat {shlex.quote(str(path))})" {url}'
        )

    def _recheck(self, text: str, scope: Scope, local: bool) -> None:
        """Check a token again.

        Raises:
            UnauthorizedError: it was revoked, or has expired.
            ForbiddenError: it does not have the scope any more.
        """
        token = self._find(text, local)
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


def _is_local(request: Request) -> bool:
    """Return whether a request comes from this machine."""
    return request.client is not None and is_loopback(request.client.host.removeprefix("::ffff:"))
