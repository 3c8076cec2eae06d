"""Turns errors into problems (RFC 9457): one table from error code to status, title and what to do about it."""

from __future__ import annotations

import math

import msgspec

from syntor.contracts.errors import SyntorError
from syntor.ingress.errors import FieldFault, InvalidFieldsError, MethodNotAllowedError, TooManyRequestsError
from syntor.runtime.redaction import redact

CONTENT_TYPE = b"application/problem+json"
TYPE_PREFIX = "/problems/"


class ProblemKind(msgspec.Struct, frozen=True):
    """What all problems of one code share."""

    status: int
    title: str
    explanation: str
    """What it means and what to do, for the page its type names."""
    retry_after_s: int = 0
    """Seconds to wait before the same request may succeed; 0: it will not by itself."""


KINDS: dict[str, ProblemKind] = {
    "invalid_input": ProblemKind(
        400,
        "The request is not valid",
        "The body is not JSON, or a field is missing, unknown or of the wrong type. `errors` names each field and "
        "what is expected.",
    ),
    "rejected": ProblemKind(400, "The request was refused", "Repeating it changes nothing; `detail` says why."),
    "forbidden": ProblemKind(
        403,
        "Not allowed",
        "The token does not have the scope the request needs; or, on a server for this machine only, the request names "
        "another host or comes from a web page of another origin.",
    ),
    "unauthorized": ProblemKind(
        401,
        "A token is needed",
        "Send `Authorization: Bearer TOKEN` with a token of this server: `syntor tokens create` makes one.",
    ),
    "too_many_requests": ProblemKind(
        429,
        "Too many requests",
        "The caller asks more often than SYNTOR_HTTP_RATE allows, or SYNTOR_MAX_OPEN_RUNS runs have not ended yet: "
        "wait as long as Retry-After says and try again.",
        1,
    ),
    "not_found": ProblemKind(404, "Not found", "There is no run, session, agent or path by that name."),
    "method_not_allowed": ProblemKind(
        405, "Method not allowed", "The path exists; the header Allow lists its methods."
    ),
    "approval_content_changed": ProblemKind(
        409,
        "The approval is about other content",
        "The content_hash is not that of the approval: what was looked at is not what would happen. Read it again.",
    ),
    "conflict": ProblemKind(
        409, "Not in this state", "The run or agent is in a state that refuses the request, such as one that has ended."
    ),
    "too_large": ProblemKind(
        413,
        "The body is too large",
        "A request may have 1 MiB. Put large files in a folder and name it as `workspace`.",
    ),
    "unsupported_media_type": ProblemKind(
        415, "Send JSON", "The body must be JSON and say so: Content-Type: application/json."
    ),
    "idempotency_key_reused": ProblemKind(
        422,
        "The idempotency key belongs to another request",
        "The same Idempotency-Key (or request_id) came with another body before. Use a fresh key for a new request.",
    ),
    "internal": ProblemKind(500, "Internal error", "A bug. The log of the ingress has the cause under the trace id."),
    "contract": ProblemKind(
        500, "A stored message cannot be read", "It was written by a newer Syntor, or by something that is not Syntor."
    ),
    "unavailable": ProblemKind(503, "Not available now", "Something behind this server failed; try again.", 2),
    "not_reachable": ProblemKind(
        503,
        "A service does not answer",
        "NATS or the service that would answer is away, or NATS stopped storing because its disk is full. Nothing was "
        "stored; try again. `syntor status` shows which.",
        2,
    ),
    "storage_full": ProblemKind(
        503,
        "The log is full",
        "The disk or the stream limit is reached. Nothing was stored. `syntor doctor` helps.",
        30,
    ),
    "outcome_unknown": ProblemKind(
        503,
        "It is not known whether the request was stored",
        "The log took the request and then went away. Repeat it with the same Idempotency-Key: it is stored once.",
        2,
    ),
    "log_behind": ProblemKind(
        503, "The log was cut", "The log ends before a position that was already read from it.", 30
    ),
}
_ALIASES = {"malformed_message": "contract", "unknown_schema": "contract", "revision_conflict": "unavailable"}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of an error answer."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    trace_id: str
    errors: list[FieldFault] = []


class ProblemAnswer(msgspec.Struct, frozen=True):
    """A problem with the headers its status asks for."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def problem_answer(error: SyntorError, instance: str, trace_id: str) -> ProblemAnswer:
    """Return what a client is told about an error.

    Args:
        instance: path of the request.
    """
    code = _ALIASES.get(error.code, error.code)
    if code not in KINDS:
        code = "unavailable"
    kind = KINDS[code]
    headers: list[tuple[bytes, bytes]] = []
    if isinstance(error, TooManyRequestsError):
        headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after_s)))
    elif kind.retry_after_s:
        headers.append((b"retry-after", b"%d" % kind.retry_after_s))
    if isinstance(error, MethodNotAllowedError):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    if code == "unauthorized":
        headers.append((b"www-authenticate", b'Bearer realm="syntor"'))
    if code == "too_large":
        headers.append((b"connection", b"close"))
    problem = Problem(
        type=TYPE_PREFIX + code,
        title=kind.title,
        status=kind.status,
        detail=redact(str(error)),
        instance=instance,
        code=code,
        trace_id=trace_id,
        errors=_faults(error),
    )
    return ProblemAnswer(kind.status, headers, msgspec.json.encode(problem))


def _faults(error: SyntorError) -> list[FieldFault]:
    if isinstance(error, InvalidFieldsError):
        return error.faults
    field: str = getattr(error, "field", "")
    return [FieldFault(field, str(error))] if field else []
