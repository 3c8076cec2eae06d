"""Event objects and frames: one line of JSON each, with the position in front, whatever was published."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.contracts.envelope import Lineage, encode_envelope
from syntor.contracts.run.v1 import RunDone
from syntor.eventsourcing.store import NewEvent, RawEvent
from syntor.ingress.feed.frames import comment, event_object, event_type, frame, gap


def test_a_frame_has_position_type_and_the_event_object() -> None:
    new = NewEvent(
        aggregate_id="r1",
        event=RunDone(final_message="two\nlines"),
        message_id="m1",
        source="orchestrator",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        version=4,
        lineage=Lineage(run_id="r1"),
    )
    payload = encode_envelope(new.envelope())
    lines = frame(RawEvent(17, new.subject, payload), "run_done").decode().split("\n")
    assert lines[:2] == ["id: 17", "event: run_done"]
    assert lines[3:] == ["", ""]
    event = json.loads(lines[2].removeprefix("data: "))
    assert next(iter(event)) == "position"
    assert event == {"position": 17, **json.loads(payload)}


@pytest.mark.parametrize(
    ("subject", "type_"),
    [
        ("syntor.events.run.r1.user_input", "user_input"),
        ("syntor.events.run.r1.task_assigned.git", "task_assigned"),
        ("syntor.events.task.r1.t1.llm_call_done", "llm_call_done"),
        ("syntor.events.output.r1.t1.agent_stream_delta", "agent_stream_delta"),
        ("syntor.events.agent.git.agent_registered", "agent_registered"),
        ("syntor.events.x", "unknown"),
        ("syntor.events.task.r1.t1", "t1"),
    ],
)
def test_the_type_is_read_from_the_subject(subject: str, type_: str) -> None:
    assert event_type(subject) == type_


@given(
    st.one_of(
        st.binary(),
        st.text().map(str.encode),
        st.builds(json.dumps, st.dictionaries(st.text(), st.text()), indent=st.just(1)).map(str.encode),
    )
)
def test_whatever_was_published_is_one_json_object_on_one_line(payload: bytes) -> None:
    if payload[:1] == b"{" and b"\n" not in payload and b"\r" not in payload and len(payload) > 2:
        payload = b"\n" + payload  # single-line objects are copied without a look inside: the log holds JSON
    found = event_object(3, payload)
    assert b"\n" not in found
    assert b"\r" not in found
    assert json.loads(found)["position"] == 3


def test_gap_and_comment_are_frames_of_their_own() -> None:
    assert gap(41) == b'event: gap\ndata: {"resume_after":41}\n\n'
    assert comment("closed") == b": closed\n\n"
