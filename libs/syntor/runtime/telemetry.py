"""Logs as JSON lines with correlation ids, and W3C trace context.

Invariant: a log line holds a snake_case event name, ids and durations; never a payload, a prompt or a secret.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TextIO

# structlog imports rich, when installed, for coloured tracebacks: 3 MB and 60 ms in each of eleven processes that
# write JSON. None makes that import fail, which structlog handles.
_rich_was_loaded = "rich" in sys.modules
if not _rich_was_loaded:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402

if not _rich_was_loaded:
    del sys.modules["rich"]

from syntor.contracts.envelope import Envelope  # noqa: E402
from syntor.runtime.redaction import redact  # noqa: E402
from syntor.runtime.trace_context import read_traceparent  # noqa: E402


class _Unfailing:
    """A stream of log lines; a line that cannot be written, because the disk is full, is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or keep it for the next time."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def configure_logging(service: str, instance: str, level: str, environment: str = "development") -> None:
    """Write JSON lines to standard error from `level` on, each with service, instance and environment."""
    number = getattr(logging, level.upper())
    stream: Any = _Unfailing(sys.stderr)  # a log line never ends what it is about
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, instance=instance, environment=environment)
    logging.basicConfig(level=max(number, logging.WARNING), stream=stream, format="%(message)s")
    logging.getLogger().handlers[0].setFormatter(_JsonFormatter(service, instance))


def get_logger() -> Any:
    """Return the logger of this process; methods debug, info, warning, error, exception take an event name and ids."""
    return structlog.get_logger()


@contextmanager
def message_context(envelope: Envelope) -> Generator[None, None, None]:
    """Bind the ids of the message being handled to every log line written inside."""
    bound: dict[str, str] = {"message_id": envelope.id}
    if envelope.correlationid:
        bound["trace_id"] = envelope.correlationid
    if envelope.runid:
        bound["run_id"] = envelope.runid
    if envelope.sessionid:
        bound["session_id"] = envelope.sessionid
    with structlog.contextvars.bound_contextvars(**bound):
        yield


def new_traceparent() -> str:
    """Return a fresh trace context: new trace, new span, not sampled by the server."""
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-00"


def child_traceparent(traceparent: str) -> str:
    """Return a new span of the same trace; a fresh trace where the given one is not valid."""
    parent = read_traceparent(traceparent)
    return f"{parent[:36]}{os.urandom(8).hex()}{parent[-3:]}" if parent else new_traceparent()


def trace_id_of(traceparent: str) -> str:
    """Return the 32 hex digits of the trace id, or an empty text for an invalid trace context."""
    return read_traceparent(traceparent)[3:35]


def _dumps(value: Any, **_: Any) -> str:
    import msgspec

    return redact(msgspec.json.encode(value, enc_hook=str).decode())


class _JsonFormatter(logging.Formatter):
    """Formats lines of libraries that use the standard library's logging like ours."""

    def __init__(self, service: str, instance: str) -> None:
        super().__init__()
        self._fixed = {"service": service, "instance": instance}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"event": record.getMessage(), "logger": record.name, "level": record.levelname.lower()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _dumps(line | self._fixed)
