"""Findings from the monitoring endpoint of nats-server: durability, lag, dead letters, clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from syntor.cli.finding import Finding
from syntor.cli.log_findings import Jsz, State, Stream, _Account, judge
from syntor.contracts import topology

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def _judged(config: dict[str, Any], **streams: dict[str, Any]) -> dict[str, Finding]:
    details = [{"name": spec.name, "state": {}} | streams.get(spec.name, {}) for spec in topology.STREAMS]
    found = msgspec.convert({"config": config, "account_details": [{"stream_detail": details}]}, Jsz, strict=False)
    return {finding.name: finding for finding in judge(found, NOW)}


def test_a_healthy_log_has_no_problem() -> None:
    state = {"messages": 5, "last_seq": 5, "last_ts": "2026-11-21T11:59:59Z"}
    found = _judged({"sync_always": True}, SYNTOR_EVENTS={"state": state})
    assert {finding.state for finding in found.values()} == {"ok"}


def test_fast_durability_is_a_note_with_a_fix() -> None:
    found = _judged({"sync_always": False, "sync_interval": 100_000_000})["durability"]
    assert (found.state, found.fix) == ("note", "syntor down, then syntor up --durability durable")
    assert "0.1 s" in found.detail


def test_a_consumer_with_many_pending_messages_is_a_problem() -> None:
    consumer = {"name": "orchestrator-decisions", "num_pending": 5000, "num_ack_pending": 1}
    found = _judged({"sync_always": True}, SYNTOR_EVENTS={"consumer_detail": [consumer]})["lag"]
    assert found.state == "problem"
    assert "orchestrator-decisions has 5000 pending messages" in found.detail


def test_a_reader_that_is_no_service_of_ours_may_lag() -> None:
    pager = {"name": "pager", "num_pending": 5000, "num_redelivered": 9}
    queue = {"name": "agents-git", "num_pending": 5000}
    assert _judged({"sync_always": True}, SYNTOR_EVENTS={"consumer_detail": [pager]})["lag"].state == "ok"
    found = _judged({"sync_always": True}, SYNTOR_EVENTS={"consumer_detail": [pager, queue]})["lag"]
    assert found.detail == "agents-git has 5000 pending messages (0 in progress)"


def test_dead_letters_are_a_problem() -> None:
    assert _judged({}, SYNTOR_DLQ={"state": {"messages": 2}})["dead letters"].state == "problem"


def test_a_clock_behind_the_log_is_a_problem() -> None:
    state = {"messages": 1, "last_seq": 1, "last_ts": "2026-11-21T13:00:00Z"}
    found = _judged({}, SYNTOR_EVENTS={"state": state})["clock"]
    assert found.state == "problem"
    assert "13:00:00" in found.detail


def test_missing_streams_are_a_problem() -> None:
    found = {finding.name: finding for finding in judge(Jsz(), NOW)}
    assert found["streams"].fix == "syntor admin apply"


def test_a_log_that_ends_before_the_read_models_is_a_problem_with_two_fixes() -> None:
    found = Jsz(account_details=[_Account([Stream("SYNTOR_EVENTS", State(last_seq=40))])])
    ahead = {finding.name: finding for finding in judge(found, NOW, 41)}["read models"]
    assert ahead.state == "problem"
    assert "position 41, but the log ends at 40" in ahead.detail
    assert "syntor backup restore" in ahead.fix
    assert "syntor replay" in ahead.fix
    assert "read models" not in {finding.name for finding in judge(found, NOW, 40)}
