"""A new aggregate of ten events takes one file in a domain, its rows in the event table, and one registration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from integration.eventsourcing.domain import parcel

from syntor.contracts import subjects
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import ConflictError
from syntor.contracts.events import CATALOGUE
from syntor.eventsourcing.aggregate import Aggregates
from syntor.schemas.documents import build_asyncapi, build_event_reference, build_schemas
from syntor.testing.scenario import scenario

AT = datetime(2026, 11, 27, tzinfo=UTC)
LINEAGE = Lineage(correlation_id="c1")


@pytest.fixture(autouse=True)
def table() -> Iterator[None]:
    """The event table with the rows of the new aggregate."""
    with CATALOGUE.extended(parcel.CATEGORY, parcel.EVENTS):
        yield


async def test_its_commands_are_decided_appended_and_read_back_by_another_process(log: Any) -> None:
    here, there = (Aggregates(log.store, parcel.DECIDER, "registry") for _ in range(2))
    await here.transact("p1", lambda _: parcel.ParcelAnnounced(recipient="me"), LINEAGE, AT, limit=1)
    await there.transact("p1", lambda state: parcel.decide_arrival(state, "north", 500), LINEAGE, AT)
    await here.transact("p1", lambda state: parcel.decide_arrival(state, "south", 500), LINEAGE, AT)
    with pytest.raises(ConflictError, match="unknown cannot arrive"):
        await there.transact("p2", lambda state: parcel.decide_arrival(state, "north", 1), LINEAGE, AT)
    stored = [recorded async for recorded in log.store.load(subjects.aggregate("parcel", "p1"))]
    assert [recorded.envelope.version for recorded in stored] == [1, 2, 3, 4]
    assert [recorded.subject for recorded in stored[1::2]] == [
        "syntor.events.parcel.p1.parcel_received.north",
        "syntor.events.parcel.p1.parcel_received.south",
    ]
    folded = parcel.DECIDER.fold(parcel.DECIDER.initial, ((r.event, r.envelope.time) for r in stored))
    assert folded == here.get("p1").state == parcel.Parcel(stage="stored", depot="south", grams=500)


def test_its_decisions_are_tested_as_scenarios() -> None:
    loaded = parcel.ParcelLoaded(vehicle="v1")
    history = (parcel.ParcelAnnounced(recipient="me"), loaded, parcel.DeliveryFailed(attempt=2), loaded)
    decided = scenario(parcel.DECIDER).given(*history).when(lambda state, at: parcel.decide_failure(state))
    decided.then(parcel.DeliveryFailed(attempt=3), parcel.ParcelReturned())


def test_subjects_permissions_schemas_and_documents_follow_from_its_rows() -> None:
    assert subjects.of_type(parcel.ParcelReceived) == "syntor.events.parcel.*.parcel_received.*"
    assert subjects.parse_event("syntor.events.parcel.p1.parcel_received.north").key == "north"
    assert "syntor.events.parcel.>" in subjects.written_by(["registry"])
    assert "syntor.events.parcel.*.parcel_lost" in subjects.written_by(["ingress"])
    assert len(json.loads(build_schemas()["parcel.v1.json"])["events"]) == 10
    channels = json.loads(build_asyncapi())["channels"]
    address = channels["parcel_parcel_received_v1"]["address"]
    assert address == "syntor.events.parcel.{parcel_id}.parcel_received.{depot}"
    assert "### parcel_lost" in build_event_reference()
