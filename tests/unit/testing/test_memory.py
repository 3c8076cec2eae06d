"""Subject filters of the store in memory."""

from __future__ import annotations

import pytest

from syntor.testing.memory import matches


@pytest.mark.parametrize(
    ("filter_subject", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.b.c", "a.b", False),
        ("a.*.c", "a.b.c", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a.b", True),
        ("a.*.>", "a.b", False),
    ],
)
def test_filters_match_as_those_of_nats(filter_subject: str, subject: str, expected: bool) -> None:
    assert matches(filter_subject, subject) is expected
