"""Every error Syntor raises on purpose.

SyntorError
├── RejectionError             the domain said no; repeating the same request changes nothing
│   ├── NotFoundError          no such run, session, agent, model
│   ├── ConflictError          the thing is in a state that refuses this
│   ├── InvalidInputError      a field of the request is wrong; names field, value and fix
│   └── IdempotencyError       the same key came with another body
├── ContractError              a message this process cannot read
│   ├── MalformedMessageError  not JSON, or not of its schema
│   └── UnknownSchemaError     a category, type or version this process does not know
└── InfrastructureError        a retry may help
    ├── RevisionConflictError  another writer appended to the aggregate first
    ├── SupersededError        another attempt owns the work; this one appends and acknowledges nothing more
    ├── OutcomeUnknownError    sent without a reply, and the log could not be read
    ├── NotReachableError      NATS, a service or a model provider does not answer
    ├── StorageFullError       the log refuses more: a stream limit or the disk is full
    └── LogBehindError         the log ends before a position that was already read from it
"""


class SyntorError(Exception):
    """Root of all errors raised on purpose; `code` is stable and machine readable."""

    code: str = "internal"


class RejectionError(SyntorError):
    """The domain said no."""

    code = "rejected"


class NotFoundError(RejectionError):
    """Nothing by that id; the text names what was looked for and, where short, what there is."""

    code = "not_found"


class ConflictError(RejectionError):
    """The thing exists in a state that refuses the request."""

    code = "conflict"


class InvalidInputError(RejectionError):
    """A field of the request is wrong.

    Attributes:
        field: dotted path of the field, empty for the whole body.
    """

    code = "invalid_input"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class IdempotencyError(RejectionError):
    """The same idempotency key was used with another body."""

    code = "idempotency_key_reused"


class ContractError(SyntorError):
    """A message this process cannot read; it is dead-lettered."""

    code = "contract"


class MalformedMessageError(ContractError):
    """Not JSON, or not of its schema."""

    code = "malformed_message"


class UnknownSchemaError(ContractError):
    """A category, type or version this process does not know; a newer Syntor may have written it."""

    code = "unknown_schema"


class InfrastructureError(SyntorError):
    """Something around us failed; the same call may succeed later."""

    code = "unavailable"


class RevisionConflictError(InfrastructureError):
    """Another writer appended to the aggregate first: reload and decide again.

    Attributes:
        expected: revision the writer had seen (stream sequence, 0: none).
        found: revision in the log, or None where the server did not say.
    """

    code = "revision_conflict"

    def __init__(self, aggregate: str, expected: int, found: int | None) -> None:
        super().__init__(f"{aggregate}: expected revision {expected}, found {'another' if found is None else found}")
        self.aggregate = aggregate
        self.expected = expected
        self.found = found


class SupersededError(InfrastructureError):
    """Another attempt owns the work: this one stops, appends nothing more, and leaves its message to the other."""

    code = "superseded"


class OutcomeUnknownError(InfrastructureError):
    """An append was sent without a reply, and whether the log holds it could not be read."""

    code = "outcome_unknown"


class NotReachableError(InfrastructureError):
    """NATS, a service or a model provider does not answer."""

    code = "not_reachable"


class StorageFullError(InfrastructureError):
    """The log refuses more: a stream limit or the disk is full."""

    code = "storage_full"


class LogBehindError(InfrastructureError):
    """The log ends before a position that was already read from it: restored from an old copy, or cut."""

    code = "log_behind"


class ConfigurationError(SyntorError):
    """A setting, file or environment variable is wrong; the text names it, its value and what is expected."""

    code = "configuration"
