"""One run with its texts whole: what does not fit into a message of NATS is read from the log."""

from __future__ import annotations

import msgspec

from syntor.contracts.rpc import v1 as rpc
from syntor.contracts.run.v1 import RunDone
from syntor.ingress.gateway import Gateway
from syntor.ingress.http.context import RequestContext

_WHOLE = b'"cut":{}'  # only the run has it: a task without cuts leaves it out, and inside a text it would be escaped
_OF_THE_RUN = ("input", "final_message", "metadata")


async def whole_run(gateway: Gateway, run_id: str, min_position: int, context: RequestContext) -> bytes:
    """Return a run at least as recent as a position, JSON of a `RunView`; errors as `Gateway.call`."""
    request = rpc.GetRun(run_id=run_id, min_position=min_position)
    body = await gateway.call(rpc.PROJECTOR, rpc.GET_RUN, request, context)
    if _WHOLE in body:
        return body
    view = msgspec.json.decode(body, type=rpc.RunView)
    if not any(field in view.cut for field in _OF_THE_RUN):
        return body
    bounds = await gateway.run(run_id)
    ended = bounds.last.event if bounds.last is not None else None
    whole = msgspec.structs.replace(
        view,
        input=bounds.request.content,
        final_message=ended.final_message if isinstance(ended, RunDone) else view.final_message,
        metadata=bounds.request.metadata,
        cut={field: cut for field, cut in view.cut.items() if field not in _OF_THE_RUN},
    )
    return msgspec.json.encode(whole)
