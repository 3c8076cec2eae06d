"""A message written once can always be read: one recorded message of each schema must decode to what it meant."""

import json
from pathlib import Path

import jsonschema
import msgspec

from syntor.contracts.envelope import decode_envelope, schema_name
from syntor.contracts.events import CATALOGUE
from syntor.eventsourcing.upcasting import EventReader

GOLDEN = Path(__file__).parent / "golden_messages.jsonl"
SCHEMAS = Path(__file__).parents[3] / "contracts/schemas"


def test_every_golden_message_decodes_and_keeps_every_field() -> None:
    reader = EventReader()
    for line in GOLDEN.read_bytes().splitlines():
        envelope = decode_envelope(line)
        event = reader.read(envelope)
        written = json.loads(bytes(envelope.data))
        read = json.loads(msgspec.json.encode(event))
        assert {key: read.get(key) for key in written} == written


def test_every_golden_message_is_of_its_committed_schema() -> None:
    for line in GOLDEN.read_bytes().splitlines():
        document = json.loads(line)
        category, _, rest = document["dataschema"].removeprefix("syntor:").partition("/")
        type_, _, version = rest.rpartition(".v")
        schema = json.loads((SCHEMAS / f"{category}.v{version}.json").read_text())
        jsonschema.validate(document["data"], schema["events"][type_] | {"$defs": schema["$defs"]})


def test_every_schema_has_a_golden_message() -> None:
    recorded = {json.loads(line)["dataschema"] for line in GOLDEN.read_text().splitlines()}
    assert recorded == {schema_name(row.category, row.type, row.version) for row in CATALOGUE.rows()}
