"""Resumption of a stream after the last event a client received (`Last-Event-ID`, HTML standard, section 9.2)."""

from __future__ import annotations

from starlette.requests import Request

from syntor.contracts.bounds import Position
from syntor.contracts.http.v1 import FieldFault
from syntor.contracts.subjects import is_of_run
from syntor.ingress.gateway import Gateway
from syntor.ingress.http.errors import InvalidFieldsError
from syntor.ingress.http.parameters import HeaderParameter

LAST_EVENT_ID = HeaderParameter(
    name="Last-Event-ID",
    annotation=Position,
    description="Position to resume after, as a reconnecting client sends it: the id of the last event it received. "
    "Takes precedence over `after`; 0: none was received.",
)


async def last_event_of_run(gateway: Gateway, request: Request, run_id: str) -> int:
    """Return the position of the last event of a run that a client received; 0: it names none.

    Raises:
        InvalidFieldsError: the header names no position, or that of an event of anything else than this run: what the
            client has is then not the beginning of this stream.
        BeyondLogError: the log does not have the position.
    """
    position: int = LAST_EVENT_ID.read(request) or 0
    if not position:
        return 0
    await gateway.require_position(LAST_EVENT_ID.name, position)
    message = await gateway.stored(position)
    if message is None:
        what = f"the log has no event {position}"
    elif is_of_run(message.subject, run_id):
        return position
    else:
        what = f"event {position} is not of run {run_id!r}"
    text = f"{what}: send the id of the last event received on this stream, or leave it out to begin with the first"
    raise InvalidFieldsError([FieldFault(LAST_EVENT_ID.name, text)])
