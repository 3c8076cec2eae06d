"""Events of the HTTP API are decoded by their schema, and shown even when they cannot be."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from syntor.cli.event import UNREADABLE, decode_event
from syntor.cli.event_line import event_line
from syntor.contracts.envelope import Envelope
from syntor.contracts.run.v1 import RunDone


def _object(dataschema: str, type_: str, data: bytes) -> bytes:
    envelope = Envelope(
        specversion="1.0",
        id="m1",
        source="syntor/orchestrator",
        type=type_,
        subject="task.r1.t1",
        time=datetime(2026, 11, 21, 10, 11, 12, 345678, tzinfo=UTC),
        dataschema=dataschema,
        data=msgspec.Raw(data),
    )
    return b'{"position":7,' + msgspec.json.encode(envelope)[1:]


def test_a_known_schema_becomes_its_struct_and_keeps_the_json_it_came_as() -> None:
    content = _object("syntor:run/run_done.v1", "run_done", b'{"final_message":"hi"}')
    event = decode_event(content)
    assert event.body == RunDone(final_message="hi")
    assert (event.position, event.type, event.task_id, event.json) == (7, "run_done", "t1", content)


def test_a_schema_of_a_newer_version_has_a_type_and_no_body() -> None:
    event = decode_event(_object("syntor:run/run_done.v99", "run_done", b'{"final_message":"hi"}'))
    assert (event.type, event.body) == ("run_done", None)
    assert event_line(event) == (
        '       7  10:11:12.345  run_done               task.r1.t1                         {"final_message":"hi"}'
    )


def test_a_message_that_is_not_an_envelope_is_shown_as_unreadable() -> None:
    event = decode_event(b'{"position":7,"unreadable":"\\u0000"}')
    assert (event.position, event.type, event.subject, event.body) == (7, UNREADABLE, "", None)
    assert UNREADABLE in event_line(event)
