"""Metrics of HTTP requests; what lasts as long as its client wants is apart from what can be late."""

from __future__ import annotations

from typing import Literal

from syntor.metrics import Counter, Histogram

Kind = Literal["request", "wait", "stream"]
"""request: responds as soon as it can; wait: `Prefer: wait`, when the run has ended; stream: as long as it is open."""

_WAIT_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
_STREAM_BUCKETS = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)

_REQUESTS = Counter("syntor_http_requests_total", "HTTP requests completed", ("route", "method", "status"))
_SECONDS = Histogram(
    "syntor_http_request_seconds", "Duration of requests that respond as soon as they can", ("route", "method")
)
_WAITS = Histogram(
    "syntor_http_wait_seconds", "Duration of requests that wait for the end of a run", ("route",), _WAIT_BUCKETS
)
_STARTS = Histogram("syntor_http_stream_start_seconds", "Time from request to begin of an event stream", ("route",))
_STREAMS = Histogram("syntor_http_stream_seconds", "Life of event streams", ("route",), _STREAM_BUCKETS)


def record(kind: Kind, route: str, method: str, status: int, duration_s: float, started_s: float) -> None:
    """Record a request that has ended.

    Args:
        route: its path with names in place of ids, or `unmatched`.
        status: of its response; 0: none was sent.
        duration_s: from request to end of response.
        started_s: from request to begin of response.
    """
    _REQUESTS.labels(route, method, str(status)).inc()
    match kind:
        case "request":
            _SECONDS.labels(route, method).observe(duration_s)
        case "wait":
            _WAITS.labels(route).observe(duration_s)
        case "stream":
            _STARTS.labels(route).observe(started_s)
            _STREAMS.labels(route).observe(duration_s)


def record_unread(status: int) -> None:
    """Record a request that was refused before it could be read."""
    _REQUESTS.labels("unmatched", "", str(status)).inc()
