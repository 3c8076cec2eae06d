"""The header that makes a request safe to repeat."""

from __future__ import annotations

from syntor.ingress.http.bounds import IdempotencyKey
from syntor.ingress.http.operation import IDEMPOTENCY_HEADER
from syntor.ingress.http.parameters import HeaderParameter

IDEMPOTENCY_KEY = HeaderParameter(
    name="Idempotency-Key",
    annotation=IdempotencyKey,
    description="The same key and request yield the same run or session, indefinitely, also where a new one would be "
    "refused; another request is refused with 422.",
)
assert IDEMPOTENCY_KEY.name.lower() == IDEMPOTENCY_HEADER
