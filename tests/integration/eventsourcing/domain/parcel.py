"""Pure parcel aggregate, the example of a new one: ten events, state, evolve and decide in one file."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from syntor.contracts.bounds import Count, Id, Line
from syntor.contracts.errors import ConflictError
from syntor.contracts.events import Category, Event, EventType
from syntor.eventsourcing.decider import Decider

Stage = Literal["unknown", "announced", "stored", "travelling", "held", "delivered", "returned", "lost"]


class ParcelAnnounced(msgspec.Struct, frozen=True, kw_only=True):
    """A sender announces a parcel."""

    recipient: Line


class ParcelReceived(msgspec.Struct, frozen=True, kw_only=True):
    """A depot receives the parcel."""

    depot: Id
    """Also the subject's last token."""


class ParcelWeighed(msgspec.Struct, frozen=True, kw_only=True):
    """The parcel is weighed."""

    grams: Count


class ParcelLoaded(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle takes the parcel."""

    vehicle: Id


class ParcelHeld(msgspec.Struct, frozen=True, kw_only=True):
    """Customs hold the parcel."""

    reason: Line


class ParcelReleased(msgspec.Struct, frozen=True, kw_only=True):
    """Customs release the parcel."""


class DeliveryFailed(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery attempt failed."""

    attempt: Count


class ParcelDelivered(msgspec.Struct, frozen=True, kw_only=True):
    """Terminal: the recipient has the parcel."""


class ParcelReturned(msgspec.Struct, frozen=True, kw_only=True):
    """Terminal: the parcel goes back to its sender."""


class ParcelLost(msgspec.Struct, frozen=True, kw_only=True):
    """Terminal: the parcel cannot be found."""


CATEGORY = Category(name="parcel", id_fields=("parcel_id",), consistency="aggregate", description="A parcel")
EVENTS = (
    EventType(ParcelAnnounced, "parcel", ("registry",)),
    EventType(ParcelReceived, "parcel", ("registry",), key=("depot",)),
    EventType(ParcelWeighed, "parcel", ("registry",)),
    EventType(ParcelLoaded, "parcel", ("registry",)),
    EventType(ParcelHeld, "parcel", ("registry",)),
    EventType(ParcelReleased, "parcel", ("registry",)),
    EventType(DeliveryFailed, "parcel", ("registry",)),
    EventType(ParcelDelivered, "parcel", ("registry",)),
    EventType(ParcelReturned, "parcel", ("registry",)),
    EventType(ParcelLost, "parcel", ("registry", "ingress")),
)

MAX_ATTEMPTS = 3


class Parcel(msgspec.Struct, frozen=True):
    """State of one parcel."""

    stage: Stage = "unknown"
    depot: str = ""
    grams: int = 0
    attempts: int = 0


def evolve(parcel: Parcel, event: Event, at: datetime) -> Parcel:
    """Apply one event."""
    replace = msgspec.structs.replace
    match event:
        case ParcelAnnounced():
            return replace(parcel, stage="announced")
        case ParcelReceived(depot=depot):
            return replace(parcel, stage="stored", depot=depot)
        case ParcelWeighed(grams=grams):
            return replace(parcel, grams=grams)
        case ParcelLoaded():
            return replace(parcel, stage="travelling")
        case ParcelHeld():
            return replace(parcel, stage="held")
        case ParcelReleased():
            return replace(parcel, stage="stored")
        case DeliveryFailed(attempt=attempt):
            return replace(parcel, stage="stored", attempts=attempt)
        case ParcelDelivered():
            return replace(parcel, stage="delivered")
        case ParcelReturned():
            return replace(parcel, stage="returned")
        case ParcelLost():
            return replace(parcel, stage="lost")
        case _:
            return parcel


DECIDER: Decider[Parcel] = Decider(category="parcel", initial=Parcel(), evolve=evolve)


def decide_arrival(parcel: Parcel, depot: str, grams: int) -> Event | None:
    """Return the next event of an arrival at a depot; None: it is stored and weighed there.

    Raises:
        ConflictError: the parcel was not announced, or is at its end.
    """
    if parcel.stage not in ("announced", "travelling", "stored"):
        raise ConflictError(f"a parcel that is {parcel.stage} cannot arrive")
    if parcel.stage != "stored" or parcel.depot != depot:
        return ParcelReceived(depot=depot)
    return ParcelWeighed(grams=grams) if parcel.grams != grams else None


def decide_failure(parcel: Parcel) -> Event | None:
    """Return the next event after a failed delivery; None: the parcel waits for the next attempt."""
    if parcel.stage == "travelling":
        return DeliveryFailed(attempt=parcel.attempts + 1)
    return ParcelReturned() if parcel.stage == "stored" and parcel.attempts >= MAX_ATTEMPTS else None
