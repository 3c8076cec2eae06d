"""Reads the data of any schema version ever written into the struct of the newest."""

from __future__ import annotations

from typing import Any

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.envelope import Envelope, parse_schema_name
from syntor.contracts.errors import MalformedMessageError, UnknownSchemaError
from syntor.contracts.events import CATALOGUE, Catalogue, Event, EventType


class EventReader:
    """Decodes events; keeps one compiled decoder per schema, found by the dataschema text."""

    def __init__(self, catalogue: Catalogue = CATALOGUE) -> None:
        self._catalogue = catalogue
        self._decoders: dict[str, msgspec.json.Decoder[Event]] = {}

    def read(self, envelope: Envelope) -> Event:
        """Return the event in an envelope, upcast to the newest version of its type.

        Raises:
            UnknownSchemaError: category, type or version is not known here, or a step is missing.
            MalformedMessageError: the data is not of its schema.
        """
        decoder = self._decoders.get(envelope.dataschema)
        try:
            if decoder is not None:
                return decoder.decode(envelope.data)
            return self._read_first(envelope)
        except UNDECODABLE as exc:
            raise MalformedMessageError(f"event {envelope.id} ({envelope.dataschema}): {exc}") from exc

    def _read_first(self, envelope: Envelope) -> Event:
        category, type_, version = parse_schema_name(envelope.dataschema)
        row = self._catalogue.newest(category, type_)
        if row is None or version > row.version or version < 1:
            known = "no version" if row is None else f"versions up to {row.version}"
            raise UnknownSchemaError(f"event {envelope.id}: {envelope.dataschema} is unknown; {known} can be read")
        if version == row.version:
            decoder = msgspec.json.Decoder(row.struct)
            self._decoders[envelope.dataschema] = decoder
            return decoder.decode(envelope.data)
        return self._upcast(envelope, row, version)

    def _upcast(self, envelope: Envelope, row: EventType, version: int) -> Event:
        data: dict[str, Any] = msgspec.json.decode(envelope.data, type=dict[str, Any])
        for from_version in range(version, row.version):
            step = self._catalogue.step(row.category, row.type, from_version)
            if step is None:
                raise UnknownSchemaError(
                    f"event {envelope.id}: no upcaster for {row.category}/{row.type} v{from_version}"
                )
            data = step(data)
        return msgspec.convert(data, row.struct)
