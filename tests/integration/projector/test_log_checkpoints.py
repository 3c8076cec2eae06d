"""The projector covers the log with checkpoints: after so many events and when it is quiet, and never without need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from syntor.contracts import subjects
from syntor.contracts.errors import NotReachableError
from syntor.contracts.log.v1 import LogCheckpoint
from syntor.eventsourcing.store import Recorded
from syntor.eventsourcing.verification import Claim
from syntor.projections.sqlite import SqliteStore
from syntor.projector.domain.read_model import ReadModel
from syntor.projector.log_checkpoints import LogCheckpoints
from syntor.projector.subscription import ProjectionSubscription
from syntor.replay.integrity import verify_log
from syntor.replay.source import open_log
from syntor.testing.events import stream_delta, user_input
from syntor.testing.log import Log

DEADLINE_S = 10.0
FILTER = subjects.of_type(LogCheckpoint)


@asynccontextmanager
async def projector(log: Log, path: Path) -> AsyncGenerator[ProjectionSubscription, None]:
    """A read model that follows the log."""
    store = SqliteStore(str(path))
    await store.open(ReadModel())
    subscription = ProjectionSubscription(log.connection, log.store, store, ReadModel())
    running = asyncio.create_task(subscription.run())
    try:
        yield subscription
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()


async def checkpoints(log: Log) -> list[Recorded]:
    return [recorded async for recorded in log.store.load(FILTER)]


async def test_a_checkpoint_is_appended_for_new_events_only_and_covers_all_of_them(log: Log, tmp_path: Path) -> None:
    async with projector(log, tmp_path / "rows.db") as subscription:
        covering = LogCheckpoints(log.store, subscription.runner)
        last = max([await log.store.append(user_input(f"r{number}"), 0) for number in range(3)])
        await subscription.runner.wait_for(last, DEADLINE_S)
        await covering.append(at_least=4)  # too few
        assert await checkpoints(log) == []
        await covering.append()
        await subscription.runner.wait_for(last + 1, DEADLINE_S)
        await covering.append()  # nothing but the checkpoint itself
        await LogCheckpoints(log.store, subscription.runner).append()  # nor by a process that has just started
        [only] = await checkpoints(log)
        assert isinstance(only.event, LogCheckpoint)
        assert only.event.position == 3
        claim = Claim(subscription.runner.checkpoint.position, subscription.runner.checkpoint.log_hash)
        async with open_log(log.server.url) as source:
            verified = await verify_log(source, {"the read model": claim})
        assert (verified.damage, verified.checkpoints, verified.covered) == ([], 1, 3)


async def test_of_two_projectors_one_appends_and_both_agree(log: Log, tmp_path: Path) -> None:
    async with projector(log, tmp_path / "a.db") as first, projector(log, tmp_path / "b.db") as second:
        last = await log.store.append(user_input("r1"), 0)
        await asyncio.gather(*(each.runner.wait_for(last, DEADLINE_S) for each in (first, second)))
        await asyncio.gather(*(LogCheckpoints(log.store, each.runner).append() for each in (first, second)))
        assert len(await checkpoints(log)) == 1
        await asyncio.gather(*(each.runner.wait_for(last + 1, DEADLINE_S) for each in (first, second)))
        assert first.runner.checkpoint == second.runner.checkpoint
        assert first.runner.checkpoint.damage == ""


async def test_a_quiet_log_is_covered_once(log: Log, tmp_path: Path) -> None:
    async with projector(log, tmp_path / "rows.db") as subscription:
        covering = asyncio.create_task(LogCheckpoints(log.store, subscription.runner, every=5, quiet_s=0.05).run())
        await log.store.append(stream_delta("r1"), None)
        await subscription.runner.wait_for(2, DEADLINE_S)  # the event and its checkpoint
        with pytest.raises(NotReachableError):
            await subscription.runner.wait_for(3, 0.5)
        covering.cancel()
        await asyncio.gather(covering, return_exceptions=True)
    assert [each.position for each in await checkpoints(log)] == [2]


async def test_a_checkpoint_that_does_not_match_is_marked_and_the_read_model_continues(
    log: Log, tmp_path: Path
) -> None:
    async with projector(log, tmp_path / "rows.db") as subscription:
        await log.store.append(user_input("r1"), 0)
        forged = msgspec.structs.replace(user_input("main"), event=LogCheckpoint(position=1, hash="0" * 32))
        await log.store.append(forged, 0)
        last = await log.store.append(user_input("r2"), 0)
        await subscription.runner.wait_for(last, DEADLINE_S)
        assert "differs from the checkpoint at 2" in subscription.runner.checkpoint.damage
        assert subscription.failure is None


async def test_checkpoints_continue_behind_a_message_that_is_none(log: Log, tmp_path: Path) -> None:
    async with projector(log, tmp_path / "rows.db") as subscription:
        await log.connection.request("syntor.events.log.main.log_checkpoint", b"nonsense", timeout_s=5)
        await subscription.runner.wait_for(1, DEADLINE_S)
        await LogCheckpoints(log.store, subscription.runner).append()
        assert [each.position async for each in log.store.load(FILTER, skip_unreadable=True)] == [2]
