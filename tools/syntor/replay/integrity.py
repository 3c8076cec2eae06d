"""Verifies the log of a server: all of it, or what follows a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from syntor.contracts import subjects
from syntor.contracts.errors import ContractError
from syntor.contracts.log.v1 import LogCheckpoint
from syntor.eventsourcing.verification import Claim, LogVerifier
from syntor.replay.source import LogSource

SMALL = 20_000  # events that are verified in about a second


async def verify_log(
    source: LogSource, claims: Mapping[str, Claim] | None = None, *, quick: bool = False
) -> LogVerifier:
    """Read the log and return its verifier, with the damage found.

    Args:
        claims: what read models recorded, by their names.
        quick: of a large log, read only what follows a checkpoint near its end.

    Raises:
        InfrastructureError: the log could not be read.
    """
    last = await source.newest()  # not before what a read model has read by now
    verifier = LogVerifier(claims=claims)
    if quick and last > SMALL:
        verifier = await _from_checkpoint(source, claims)
    async for batch in source.raw_batches(verifier.position, last):
        for raw in batch:
            envelope = verifier.feed(raw)
            if envelope is not None and envelope.dataref:
                try:
                    await source.recorded.hydrate(envelope)
                except ContractError as exc:
                    verifier.blob_unreadable(raw, str(exc))
    verifier.finish(last)
    return verifier


async def _from_checkpoint(source: LogSource, claims: Mapping[str, Claim] | None) -> LogVerifier:
    """Return a verifier that starts at the last checkpoint before the newest events."""
    filters = [subjects.of_type(LogCheckpoint)]
    found = await source.store.last_of_each(filters, source.last - SMALL // 2, skip_unreadable=True)
    if not found:
        return LogVerifier(claims=claims)
    checkpoint = found[-1].event
    assert isinstance(checkpoint, LogCheckpoint)
    return LogVerifier(after=checkpoint.position, log_hash=bytes.fromhex(checkpoint.hash), claims=claims)
