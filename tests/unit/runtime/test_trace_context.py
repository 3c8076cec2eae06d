"""A caller's trace context is read as W3C says; what is not valid is ignored, whatever it is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.contracts.envelope import SPEC_VERSION, Envelope, decode_envelope, encode_envelope
from syntor.runtime.trace_context import TraceContext, read_context, read_traceparent, read_tracestate

TRACE, SPAN = "ab" * 16, "cd" * 8
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (PARENT, PARENT),
        (f"00-{TRACE}-{SPAN}-ff", f"00-{TRACE}-{SPAN}-03"),
        (f"01-{TRACE}-{SPAN}-01", PARENT),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", PARENT),
        (f"cc-{TRACE}-{SPAN}-01.more", ""),
        (f"ff-{TRACE}-{SPAN}-01", ""),
        (f"00-{TRACE}-{SPAN}-01-more", ""),
        (f"00-{TRACE.upper()}-{SPAN}-01", ""),
        (f"00-{'0' * 32}-{SPAN}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE}-{SPAN}", ""),
        (f"00-{TRACE}-{SPAN}-01\n", ""),
        ("", ""),
    ],
)
def test_a_traceparent_is_read_as_the_recommendation_says(text: str, read: str) -> None:
    assert read_traceparent(text) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (" rojo=1 ,\t, congo=2,", "rojo=1,congo=2"),
        ("fw529a3039@dt=FfAAA,0a@b=x y", "fw529a3039@dt=FfAAA,0a@b=x y"),
        ("rojo=1,rojo=2", ""),
        ("Rojo=1", ""),
        ("rojo=", ""),
        ("rojo=a=b", ""),
        ("rojo=\u00e9", ""),
        ("rojo", ""),
        (",".join(f"k{number}=1" for number in range(33)), ""),
        ("a=" + "x" * 200 + ",b=1," + ",".join(f"k{number}=" + "y" * 40 for number in range(8)), None),
        (",".join(f"k{number:02}=" + "y" * 40 for number in range(20)), None),
    ],
)
def test_a_tracestate_is_read_as_the_recommendation_says(text: str, read: str | None) -> None:
    found = read_tracestate(text)
    if read is not None:
        assert found == read
    else:
        assert 0 < len(found) <= 512
        assert "x" * 200 not in found
        assert set(found.split(",")) <= set(text.split(","))


def test_a_state_needs_a_parent_and_two_parents_are_none() -> None:
    state = (b"tracestate", b"a=1")
    parent = (b"traceparent", PARENT.encode())
    assert read_context([state]) == TraceContext()
    assert read_context([(b"traceparent", b"nonsense"), state]) == TraceContext()
    assert read_context([parent, parent, state]) == TraceContext()
    assert read_context([parent, state, (b"tracestate", b"b=2")]) == TraceContext(PARENT, "a=1,b=2")
    assert read_context([parent, (b"tracestate", b"=")]) == TraceContext(PARENT, "")


@given(st.lists(st.tuples(st.sampled_from([b"traceparent", b"tracestate"]), st.binary(max_size=80))))
def test_whatever_is_sent_can_be_kept_in_an_envelope(headers: list[tuple[bytes, bytes]]) -> None:
    for more in ([], [(b"traceparent", PARENT.encode())]):
        found = read_context([*more, *headers])
        envelope = Envelope(
            specversion=SPEC_VERSION,
            id="m1",
            source="s",
            type="t",
            subject="run.r1",
            time=datetime(2026, 11, 21, tzinfo=UTC),
            dataschema="d",
            traceparent=found.traceparent,
            tracestate=found.tracestate,
        )
        assert decode_envelope(encode_envelope(envelope)) == envelope
