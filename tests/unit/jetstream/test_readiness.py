"""What a stream says about itself decides whether the log would take a write."""

from __future__ import annotations

import msgspec
import pytest

from syntor.jetstream.readiness import StreamInfo, write_problem

SECOND = 10**9


def _info(*replicas: int, leader: str = "n1", count: int = 3) -> StreamInfo:
    """Return what a leader says whose followers were silent for so many seconds."""
    cluster = {"leader": leader, "replicas": [{"name": "n", "active": each * SECOND} for each in replicas]}
    return msgspec.convert({"config": {"num_replicas": count}, "cluster": cluster}, StreamInfo)


@pytest.mark.parametrize("info", [_info(0, 1), _info(0, 30), _info(count=1, leader=""), _info(count=1)])
def test_a_majority_takes_writes(info: StreamInfo) -> None:
    assert write_problem(info) is None


@pytest.mark.parametrize(
    ("info", "says"),
    [
        (_info(5, 30), "1 of 3 replicas: a majority must be reachable"),
        (_info(0, 0, 0, leader=""), "has no leader: a majority of its 3 replicas"),
        (_info(0, 9, 9, 9, count=5), "2 of 5 replicas"),
    ],
)
def test_without_a_majority_it_says_so(info: StreamInfo, says: str) -> None:
    assert says in str(write_problem(info))


def test_an_offline_replica_does_not_count() -> None:
    replicas = [{"active": 0, "offline": True}, {"active": 0, "offline": True}]
    info = msgspec.convert(
        {"config": {"num_replicas": 3}, "cluster": {"leader": "n1", "replicas": replicas}}, StreamInfo
    )
    assert "1 of 3" in str(write_problem(info))


def test_a_missing_stream_names_the_command() -> None:
    error = {"code": 404, "err_code": 10059, "description": "stream not found"}
    assert "syntor admin apply" in str(write_problem(msgspec.convert({"error": error}, StreamInfo)))
    off = {"code": 503, "err_code": 10076, "description": "JetStream not enabled"}
    assert "JetStream not enabled" in str(write_problem(msgspec.convert({"error": off}, StreamInfo)))
