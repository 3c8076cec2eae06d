"""Server error codes to our errors, one table.

Codes are those of the JetStream API (`err_code` in the server's errors.json).
"""

from __future__ import annotations

import msgspec

from syntor.contracts.errors import (
    ConfigurationError,
    InfrastructureError,
    NotFoundError,
    NotReachableError,
    StorageFullError,
    SyntorError,
)

WRONG_LAST_SEQUENCE = frozenset({10071, 10164})  # 10164: another write on the subject is in flight (R3)
DUPLICATE_IN_BATCH = 10201
BATCH_INCOMPLETE = 10176
STREAM_FULL = frozenset({10023, 10077, 10047, 10028})  # insufficient resources, store failed (limits), storage
MESSAGE_TOO_LARGE = 10054
NOT_FOUND = frozenset({10059, 10014, 10037})  # stream, consumer, message


class ApiFault(msgspec.Struct, frozen=True):
    """The `error` object of an API reply."""

    code: int = 0
    err_code: int = 0
    description: str = ""


def fault_to_error(what: str, fault: ApiFault) -> SyntorError:
    """Return the error a fault stands for; conflicts are the store's own business."""
    text = f"{what}: {fault.description} ({fault.err_code})"
    if fault.err_code in STREAM_FULL or "maximum" in fault.description or "no space" in fault.description:
        return StorageFullError(f"{text}; free disk space or raise the stream's limit, then try again")
    if fault.err_code in NOT_FOUND:
        return NotFoundError(text)
    if fault.code in (503, 429, 408):
        return NotReachableError(text)
    if fault.code in (400, 500):
        return InfrastructureError(text)
    return ConfigurationError(text)
