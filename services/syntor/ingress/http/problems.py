"""Turns errors into problem responses (RFC 9457): one table from error code to status, title and remedy."""

from __future__ import annotations

import math

import msgspec
from starlette.responses import Response

from syntor.contracts.bounds import clip
from syntor.contracts.errors import SyntorError
from syntor.contracts.http.v1 import FieldFault, Problem
from syntor.ingress.http.errors import BeyondLogError, InvalidFieldsError, MethodNotAllowedError, TooManyRequestsError
from syntor.runtime.redaction import redact

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "/problems/"


class ProblemKind(msgspec.Struct, frozen=True):
    """What all problems of one code have in common."""

    status: int
    title: str
    explanation: str
    """Meaning and remedy, for the page that `type` names."""
    retry_after_s: int = 0
    """Seconds after which the same request may succeed; 0: a repetition will not help."""


KINDS: dict[str, ProblemKind] = {
    "invalid_input": ProblemKind(
        400,
        "The request is not valid",
        "The body is not JSON, or a field is missing, unknown or of the wrong type. `errors` names each field and "
        "what is expected.",
    ),
    "rejected": ProblemKind(
        400, "The request was refused", "Repeating the request will not help; `detail` has the reason."
    ),
    "forbidden": ProblemKind(
        403,
        "Not allowed",
        "The token does not have the scope the request needs; or, on a server for this machine only, the request names "
        "another host or comes from a web page of another origin.",
    ),
    "unauthorized": ProblemKind(
        401,
        "A token is needed",
        "Send `Authorization: Bearer TOKEN`. On the server's machine the token is the key in `~/.syntor/key`, which "
        "the `syntor` command finds by itself; for other machines `syntor tokens create` creates one.",
    ),
    "too_many_requests": ProblemKind(
        429,
        "Too many requests",
        "The caller exceeds the rate SYNTOR_HTTP_RATE, SYNTOR_MAX_OPEN_RUNS runs have not ended yet, or the address "
        "sent more wrong tokens than SYNTOR_HTTP_WRONG_TOKENS allows: repeat the request after the seconds in "
        "Retry-After.",
        1,
    ),
    "not_found": ProblemKind(404, "Not found", "There is no such run, session, agent or path."),
    "method_not_allowed": ProblemKind(
        405, "Method not allowed", "The path exists; the header Allow lists its methods."
    ),
    "approval_content_changed": ProblemKind(
        409,
        "The approval is about other content",
        "The content_hash is not that of the approval: the decision is about other content. Read the approval again.",
    ),
    "conflict": ProblemKind(
        409, "Not in this state", "The state of the run or agent does not allow the request; a run may have ended."
    ),
    "beyond_log": ProblemKind(
        409,
        "The position is beyond the end of the log",
        "There is no such position yet: `log_end` is the last one. A client that was given the position by this server "
        "has events the log does not have any more: the log was restored from an older copy, so begin anew.",
    ),
    "too_large": ProblemKind(
        413,
        "The body is too large",
        "A body may have 1 MiB. Put large files in a folder and pass it as `workspace`.",
    ),
    "head_too_large": ProblemKind(
        431,
        "The request line and headers are too large",
        "They may have SYNTOR_HTTP_HEAD_BYTES together, 32 KiB unless set. Send long values in the body.",
    ),
    "request_timeout": ProblemKind(
        408,
        "The request was not complete in time",
        "A head has to arrive within 20 seconds and a body within 60; of more than SYNTOR_HTTP_UNFINISHED incomplete "
        "requests of one address the oldest is refused.",
    ),
    "unsupported_media_type": ProblemKind(
        415, "Send JSON", "The body must be JSON and say so: Content-Type: application/json."
    ),
    "idempotency_key_reused": ProblemKind(
        422,
        "The idempotency key belongs to another request",
        "The same Idempotency-Key (or request_id) was used with another body. Use a new key for a new request.",
    ),
    "internal": ProblemKind(
        500, "Internal error", "A bug. The log of the ingress contains the cause under the trace id."
    ),
    "contract": ProblemKind(500, "A stored message cannot be read", "A newer Syntor wrote it, or another program."),
    "unavailable": ProblemKind(503, "Not available now", "A service or NATS failed; repeat the request.", 2),
    "not_reachable": ProblemKind(
        503,
        "A service is not reachable",
        "NATS or the responsible service is unavailable, or NATS stopped storing because its disk is full. Nothing was "
        "stored; repeat the request. `syntor status` shows which.",
        2,
    ),
    "storage_full": ProblemKind(
        503,
        "The log is full",
        "The disk or the stream limit is reached; `detail` has what is full. Nothing was stored. Repeat the request "
        "when there is room: storing continues by itself within seconds. `syntor doctor` shows the same.",
        5,
    ),
    "outcome_unknown": ProblemKind(
        503,
        "It is not known whether the request was stored",
        "The connection to the log was lost before it acknowledged. Repeat the request with the same Idempotency-Key: "
        "it is stored once.",
        2,
    ),
    "log_behind": ProblemKind(
        503,
        "The log was truncated",
        "The log ends before a position already read from it: it was truncated or restored from an old backup.",
        30,
    ),
}
_ALIASES = {"malformed_message": "contract", "unknown_schema": "contract", "revision_conflict": "unavailable"}


def problem_response(error: SyntorError, instance: str, trace_id: str) -> Response:
    """Return the response for an error.

    Args:
        instance: path of the request.
    """
    code = _ALIASES.get(error.code, error.code)
    if code not in KINDS:
        code = "unavailable"
    kind = KINDS[code]
    problem = Problem(
        type=TYPE_PREFIX + code,
        title=kind.title,
        status=kind.status,
        detail=clip(redact(str(error))),
        instance=clip(instance),
        code=code,
        trace_id=trace_id,
        errors=_faults(error),
        log_end=error.log_end if isinstance(error, BeyondLogError) else None,
    )
    body = msgspec.json.encode(problem)
    return Response(body, kind.status, _headers(error, code, kind), media_type=MEDIA_TYPE)


def _headers(error: SyntorError, code: str, kind: ProblemKind) -> dict[str, str]:
    headers: dict[str, str] = {}
    if isinstance(error, TooManyRequestsError):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    elif kind.retry_after_s:
        headers["Retry-After"] = str(kind.retry_after_s)
    if isinstance(error, MethodNotAllowedError):
        headers["Allow"] = ", ".join(error.allowed)
    if code == "unauthorized":
        headers["WWW-Authenticate"] = 'Bearer realm="syntor"'
    if code == "too_large":
        headers["Connection"] = "close"
    return headers


def _faults(error: SyntorError) -> list[FieldFault]:
    if isinstance(error, InvalidFieldsError):
        return error.faults
    field: str = getattr(error, "field", "")
    return [FieldFault(field, str(error))] if field else []
