"""Maps server error codes to Syntor's errors, in one table.

The codes are `err_code` of the JetStream API (the server's errors.json).
"""

from __future__ import annotations

import msgspec

from syntor.contracts.errors import (
    ConfigurationError,
    InfrastructureError,
    MalformedMessageError,
    NotFoundError,
    NotReachableError,
    StorageFullError,
    SyntorError,
)

WRONG_LAST_SEQUENCE = frozenset({10071, 10164})  # 10164: another write on the subject is in flight (R3)
STORAGE_FULL = frozenset({10023, 10028, 10047, 10077})  # insufficient resources, memory, storage, store failed
NOT_FOUND = frozenset({10014, 10037, 10059})  # consumer, message, stream
TOO_LARGE = frozenset({10054, 10097})  # message, its headers
# update of a stream, of a consumer; overlapping subjects, filters; replicas without a cluster; exists already
CANNOT_APPLY = frozenset({10012, 10052, 10065, 10074, 10138, 10148})


class ApiFault(msgspec.Struct, frozen=True):
    """The `error` object of an API reply."""

    code: int = 0
    err_code: int = 0
    description: str = ""


def fault_to_error(what: str, fault: ApiFault) -> SyntorError:
    """Return the error for a fault; the appender handles `WRONG_LAST_SEQUENCE` itself."""
    text = f"{what}: {fault.description} ({fault.err_code})"
    if fault.err_code in STORAGE_FULL or "no space left" in fault.description:
        return StorageFullError(f"{text}; free disk space or raise the stream's limit, then try again")
    if fault.err_code in NOT_FOUND:
        return NotFoundError(text)
    if fault.err_code in TOO_LARGE:
        return MalformedMessageError(text)
    if fault.err_code in CANNOT_APPLY:
        return ConfigurationError(text)
    if fault.code in (503, 429, 408):
        return NotReachableError(text)
    return InfrastructureError(text)
