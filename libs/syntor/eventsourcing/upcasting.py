"""Reads the data of any schema version ever written into the struct of the newest."""

from __future__ import annotations

from typing import Any

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.envelope import Envelope, parse_schema_name
from syntor.contracts.errors import MalformedMessageError, UnknownSchemaError
from syntor.contracts.events import CATALOGUE, Catalogue, Event


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
        newest = self._catalogue.newest(category, type_)
        if newest is None or version > newest or version < 1:
            known = "no version" if newest is None else f"versions up to {newest}"
            raise UnknownSchemaError(f"event {envelope.id}: {envelope.dataschema} is unknown; {known} can be read")
        if version == newest:
            decoder = msgspec.json.Decoder(self._catalogue.struct(category, type_, newest))
            self._decoders[envelope.dataschema] = decoder
            return decoder.decode(envelope.data)
        return self._upcast(envelope, category, type_, version, newest)

    def _upcast(self, envelope: Envelope, category: str, type_: str, version: int, newest: int) -> Event:
        data: dict[str, Any] = msgspec.json.decode(envelope.data, type=dict[str, Any])
        for step_from in range(version, newest):
            step = self._catalogue.step(category, type_, step_from)
            if step is None:
                raise UnknownSchemaError(f"event {envelope.id}: no step from {category}/{type_} v{step_from} on")
            data = step(data)
        return msgspec.convert(data, self._catalogue.struct(category, type_, newest))
