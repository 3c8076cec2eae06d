"""Errors that exist only in HTTP. Each becomes a problem response; see `problems.py`."""

from __future__ import annotations

from syntor.contracts.errors import ConflictError, InvalidInputError, RejectionError
from syntor.contracts.http.v1 import FieldFault


class InvalidFieldsError(InvalidInputError):
    """One or more fields of the request are invalid.

    Attributes:
        faults: one per invalid field, in the order of the fields; never empty.
    """

    def __init__(self, faults: list[FieldFault]) -> None:
        text = "; ".join(f"{fault.field}: {fault.message}" if fault.field else fault.message for fault in faults)
        super().__init__(text, field=faults[0].field)
        self.faults = faults


class ContentChangedError(ConflictError):
    """A decision names other content than the approval has."""

    code = "approval_content_changed"


class BeyondLogError(ConflictError):
    """The request names a position the log does not have, such as one of a log that was restored from an older copy.

    Attributes:
        field: parameter, header or field that has the position.
        log_end: last position there is.
    """

    code = "beyond_log"
    field = ""
    log_end = 0

    def __init__(self, field: str, position: int, log_end: int) -> None:
        super().__init__(f"{field} {position} is beyond the end of the log, {log_end}")
        self.field = field
        self.log_end = log_end


class TooLargeError(RejectionError):
    """The body is larger than the server accepts."""

    code = "too_large"


class MethodNotAllowedError(RejectionError):
    """The path exists, the method on it does not.

    Attributes:
        allowed: methods of the path.
    """

    code = "method_not_allowed"

    def __init__(self, method: str, path: str, allowed: list[str]) -> None:
        super().__init__(f"{method} {path}: use {' or '.join(allowed)}")
        self.allowed = allowed


class UnsupportedMediaTypeError(RejectionError):
    """The body is not JSON."""

    code = "unsupported_media_type"


class ForbiddenError(RejectionError):
    """The token lacks the scope, or the request comes from a web page of another origin."""

    code = "forbidden"


class UnauthorizedError(RejectionError):
    """The request has no token, or an invalid one."""

    code = "unauthorized"


class TooManyRequestsError(RejectionError):
    """The caller exceeded a rate or a number of open runs.

    Attributes:
        retry_after_s: seconds until the next request may succeed.
    """

    code = "too_many_requests"
    retry_after_s = 1.0

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(f"{message}; try again in {retry_after_s:.1f} s")
        self.retry_after_s = retry_after_s
