"""The hub hands each listener what is its own; one that does not keep up harms nobody else."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from syntor.contracts import subjects
from syntor.ingress import hub as hub_module
from syntor.ingress.hub import MAX_PENDING_BYTES, MAX_PENDING_EVENTS, Hub, Stored


class Message(msgspec.Struct, frozen=True):
    position: int
    subject: str
    payload: bytes = b"{}"


def delta(position: int, run_id: str = "r1", size: int = 2) -> Message:
    return Message(position, subjects.event("output", f"{run_id}.t1", "agent_stream_delta"), b"x" * size)


def positions(messages: list[Stored]) -> list[int]:
    return [message.position for message in messages]


async def test_a_listener_gets_its_run_only_and_in_order() -> None:
    hub = Hub(0)
    one, other = hub.open_run("r1"), hub.open_run("r2")
    session = Message(3, subjects.event("session", "r1", "turn_taken"))
    hub.feed([delta(1), delta(2, "r2"), session, delta(4)])
    assert positions(one.take()) == [1, 4]
    assert positions(other.take()) == [2]
    assert one.take() == []
    assert hub.position == 4


async def test_two_clients_of_a_run_both_get_everything() -> None:
    hub = Hub(0)
    clients = [hub.open_run("r1"), hub.open_run("r1")]
    hub.feed([delta(1)])
    assert [positions(client.take()) for client in clients] == [[1], [1]]
    hub.drop(clients[0], "r1")
    hub.feed([delta(2)])
    assert positions(clients[1].take()) == [2]
    assert clients[0].take() == []
    assert hub.listeners == 1


@pytest.mark.parametrize(
    ("filter_subject", "expected"),
    [
        ("syntor.events.>", [1, 2, 3]),
        ("syntor.events.run.*.run_done", [2]),
        ("syntor.events.run.*", []),
        ("syntor.events.output.r1.>", [1]),
        ("syntor.events.*.r1.>", [1, 2]),
    ],
)
async def test_a_filter_gets_what_matches(filter_subject: str, expected: list[int]) -> None:
    hub = Hub(0)
    listener = hub.open_filter(filter_subject)
    done = Message(2, subjects.event("run", "r1", "run_done"))
    agent = Message(3, subjects.event("agent", "worker", "agent_registered"))
    hub.feed([delta(1), done, agent])
    assert positions(listener.take()) == expected
    hub.drop(listener)
    assert hub.listeners == 0


async def test_a_slow_client_is_cut_off_and_delays_nobody() -> None:
    hub = Hub(0)
    slow, quick = hub.open_run("r1"), hub.open_run("r1")
    for position in range(1, MAX_PENDING_EVENTS + 10):
        hub.feed([delta(position)])
        assert positions(quick.take()) == [position]
    assert slow.overflowed
    assert slow.take() == []
    assert not quick.overflowed


async def test_large_events_count_by_their_bytes() -> None:
    hub = Hub(0)
    slow = hub.open_run("r1")
    hub.feed([delta(1, size=MAX_PENDING_BYTES), delta(2)])
    assert slow.overflowed


async def test_waiting_ends_when_something_comes() -> None:
    hub = Hub(0)
    listener = hub.open_run("r1")
    waiting = asyncio.ensure_future(listener.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    hub.feed([delta(1), delta(2)])
    await waiting
    assert positions(listener.take()) == [1, 2]


async def test_closing_the_hub_ends_every_listener_and_those_to_come() -> None:
    hub = Hub(0)
    listeners = [hub.open_run("r1"), hub.open_filter("syntor.events.>")]
    waiting = [asyncio.ensure_future(listener.wait()) for listener in listeners]
    await asyncio.sleep(0)
    hub.close()
    await asyncio.gather(*waiting)
    late = hub.open_run("r2")
    await late.wait()
    assert all(listener.closed for listener in [*listeners, late])


async def test_the_newest_position_of_a_run_is_that_of_what_queries_show() -> None:
    hub = Hub(0)
    hub.feed([Message(5, subjects.event("run", "r1", "run_started")), delta(6)])
    assert (hub.seen("r1"), hub.facts, hub.position) == (5, 5, 6)
    hub.note("r2", 9)
    assert (hub.seen("r2"), hub.facts, hub.seen("r3")) == (9, 9, 0)


async def test_positions_of_old_runs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "SEEN_RUNS", 2)
    hub = Hub(0)
    for number, run_id in enumerate(["r1", "r2", "r3"], 1):
        hub.note(run_id, number)
    assert [hub.seen(run_id) for run_id in ("r1", "r2", "r3")] == [0, 2, 3]
