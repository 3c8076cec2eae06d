"""What a provider requests to wait is read as RFC 9110 says, and bounded."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from syntor.models.retries import refusal_code, retry_after

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("1000000000", 1e9),
        ("9" * 5000, 1e9),
        ("nan", None),
        ("inf", None),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("\u0661", None),
        ("soon", None),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Saturday, 21-Nov-26 12:00:30 GMT", 30.0),
        ("Sat Nov 21 12:00:30 2026", 30.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("Sat, 99 Nov 2026 11:00:00 GMT", None),
        ("Sat, 21 Nov 2026 12:00:30 +999999999999", None),
    ],
)
def test_a_retry_after_header_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "bad_response"),
        (401, "authentication_failed"),
        (403, "authentication_failed"),
        (404, "model_not_installed"),
        (408, "model_unavailable"),
        (413, "bad_response"),
        (422, "bad_response"),
        (429, "rate_limited"),
        (500, "model_unavailable"),
        (529, "model_unavailable"),
    ],
)
def test_only_some_refusals_are_about_the_endpoint(status: int, code: str) -> None:
    assert refusal_code(status) == code
