"""Old versions are read through every step between them and the newest; what cannot be read is refused by name."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from syntor.contracts.envelope import SPEC_VERSION, Envelope, schema_name
from syntor.contracts.errors import MalformedMessageError, UnknownSchemaError
from syntor.contracts.events import Catalogue, Category, Event, EventType
from syntor.eventsourcing.upcasting import EventReader

LAMP = Category(name="lamp", id_fields=("lamp_id",), consistency="aggregate", description="A lamp")


def _version(struct: type[Event], version: int) -> EventType:
    return EventType(struct, "lamp", ("ingress",), version=version)


def _newest(catalogue: Catalogue) -> type[Event]:
    row = catalogue.newest("lamp", "lamp_lit")
    assert row is not None
    return row.struct


def _catalogue() -> Catalogue:
    first = msgspec.defstruct("LampLit", [("colour", str)], frozen=True)
    second = msgspec.defstruct("LampLit", [("red", int), ("green", int), ("blue", int)], frozen=True)
    catalogue = Catalogue([LAMP], [EventType(first, "lamp", ("ingress",)), _version(second, 2)])
    catalogue.add_upcaster("lamp", "lamp_lit", 1, _lamp_lit_v1_v2)
    return catalogue


def _lamp_lit_v1_v2(data: dict[str, Any]) -> dict[str, Any]:
    """A colour's name became its three parts."""
    red, green, blue = {"white": (255, 255, 255), "red": (255, 0, 0)}[data["colour"]]
    return {"red": red, "green": green, "blue": blue}


def _envelope(version: int, data: bytes, type_: str = "lamp_lit") -> Envelope:
    return Envelope(
        specversion=SPEC_VERSION,
        id="m1",
        source="syntor/test",
        type=type_,
        subject="lamp.l1",
        time=datetime(2026, 11, 21, tzinfo=UTC),
        dataschema=schema_name("lamp", type_, version),
        data=msgspec.Raw(data),
    )


def test_a_version_1_message_is_read_as_version_2() -> None:
    catalogue = _catalogue()
    event = EventReader(catalogue).read(_envelope(1, b'{"colour":"red"}'))
    assert event == _newest(catalogue)(red=255, green=0, blue=0)


def test_a_newest_version_is_read_as_it_is_every_time() -> None:
    reader = EventReader(_catalogue())
    envelope = _envelope(2, b'{"red":1,"green":2,"blue":3}')
    assert reader.read(envelope) == reader.read(envelope)


def test_a_version_of_the_future_is_unknown() -> None:
    with pytest.raises(UnknownSchemaError, match=r"lamp/lamp_lit\.v3"):
        EventReader(_catalogue()).read(_envelope(3, b"{}"))


def test_an_unknown_type_is_unknown() -> None:
    with pytest.raises(UnknownSchemaError, match="lamp_broken"):
        EventReader(_catalogue()).read(_envelope(1, b"{}", "lamp_broken"))


def test_a_missing_step_is_named() -> None:
    catalogue = _catalogue()
    catalogue.add(_version(msgspec.defstruct("LampLit", [("hue", int)], frozen=True), 3))
    with pytest.raises(UnknownSchemaError, match="v2"):
        EventReader(catalogue).read(_envelope(1, b'{"colour":"red"}'))


@pytest.mark.parametrize("data", [b'{"red":"much","green":0,"blue":0}', b"{}", b"[]", b"nothing"])
def test_data_that_is_not_of_its_schema_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessageError, match="m1"):
        EventReader(_catalogue()).read(_envelope(2, data))
