"""Envelopes are CloudEvents, on one line, and read back as they were."""

import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import msgspec
import pytest

from syntor.contracts.envelope import (
    Envelope,
    Lineage,
    decode_envelope,
    encode_envelope,
    parse_schema_name,
    schema_name,
)
from syntor.contracts.errors import MalformedMessageError
from syntor.contracts.run.v1 import RunDone
from syntor.eventsourcing.store import NewEvent

SCHEMAS = Path(__file__).parents[3] / "contracts/schemas"
NEW = NewEvent(
    aggregate_id="r1",
    event=RunDone(final_message="done\nwith a line", task_id="t1"),
    message_id="m1",
    source="orchestrator",
    time=datetime(2026, 11, 21, 1, 2, 3, 456, tzinfo=UTC),
    version=4,
    lineage=Lineage(run_id="r1", session_id="s1", causation_id="m0", correlation_id="c1", first_position=7),
)


def test_an_envelope_reads_back_as_it_was() -> None:
    envelope = NEW.envelope()
    again = decode_envelope(encode_envelope(envelope))
    assert again.id == "m1"
    assert (again.runid, again.sessionid, again.causationid, again.correlationid) == ("r1", "s1", "m0", "c1")
    assert (again.version, again.firstposition, again.time) == (4, 7, NEW.time)
    assert msgspec.json.decode(again.data, type=RunDone) == NEW.event


def test_an_envelope_is_one_line_of_a_cloud_event_of_its_schema() -> None:
    payload = encode_envelope(NEW.envelope())
    assert b"\n" not in payload
    document = json.loads(payload)
    assert document["specversion"] == "1.0"
    assert document["dataschema"] == "syntor:run/run_done.v1"
    assert NEW.subject == "syntor.events.run.r1.run_done"
    jsonschema.validate(document, json.loads((SCHEMAS / "envelope.v1.json").read_text()))


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"\xff\xfe", b'{"specversion":"1.0"}', b'{"id":1}'])
def test_what_is_no_envelope_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        decode_envelope(payload)


def test_unknown_attributes_are_ignored() -> None:
    document = json.loads(encode_envelope(NEW.envelope())) | {"later": 1}
    assert isinstance(decode_envelope(json.dumps(document).encode()), Envelope)


def test_a_schema_name_reads_back_and_others_are_refused() -> None:
    assert parse_schema_name(schema_name("run", "run_done", 2)) == ("run", "run_done", 2)
    for name in ("run/run_done.v1", "syntor:run_done.v1", "syntor:run/run_done", "syntor:run/x.vz", "syntor:run/.v1"):
        with pytest.raises(MalformedMessageError):
            parse_schema_name(name)
