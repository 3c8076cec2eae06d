"""What only HTTP can be wrong about. Every error here is answered with a problem; see `problems.py`."""

from __future__ import annotations

import msgspec

from syntor.contracts.errors import ConflictError, InvalidInputError, RejectionError


class FieldFault(msgspec.Struct, frozen=True):
    """One thing that is wrong with one field."""

    field: str
    """Dotted path in the body, or name of the query parameter; empty for the whole body."""
    message: str
    """What was expected and what was found."""


class InvalidFieldsError(InvalidInputError):
    """One or more fields of the request are wrong.

    Attributes:
        faults: what is wrong, in the order of the fields; never empty.
    """

    def __init__(self, faults: list[FieldFault]) -> None:
        text = "; ".join(f"{fault.field}: {fault.message}" if fault.field else fault.message for fault in faults)
        super().__init__(text, field=faults[0].field)
        self.faults = faults


class ContentChangedError(ConflictError):
    """A decision is about other content than what waits for one."""

    code = "approval_content_changed"


class TooLargeError(RejectionError):
    """The body is larger than this server takes."""

    code = "too_large"


class MethodNotAllowedError(RejectionError):
    """The path exists, the method on it does not.

    Attributes:
        allowed: methods the path has.
    """

    code = "method_not_allowed"

    def __init__(self, method: str, path: str, allowed: list[str]) -> None:
        super().__init__(f"{method} {path}: use {' or '.join(allowed)}")
        self.allowed = allowed


class UnsupportedMediaTypeError(RejectionError):
    """The body is of a type this server does not read."""

    code = "unsupported_media_type"


class ForbiddenError(RejectionError):
    """The request comes from a web page that is not ours."""

    code = "forbidden"


class UnauthorizedError(RejectionError):
    """The request has no token, or one that counts for nothing."""

    code = "unauthorized"


class TooManyRequestsError(RejectionError):
    """The caller asks too often.

    Attributes:
        retry_after_s: seconds until the next request may pass.
    """

    code = "too_many_requests"
    retry_after_s = 1.0

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(f"{message}; try again in {retry_after_s:.1f} s")
        self.retry_after_s = retry_after_s


class ClientGoneError(Exception):
    """The client closed its connection before its request was whole; there is nobody to answer."""
