"""Trace contexts are W3C's, and a log line carries the ids of the message being handled."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from syntor.contracts.envelope import SPEC_VERSION, Envelope
from syntor.runtime import telemetry


def test_a_child_keeps_the_trace_and_gets_its_own_span() -> None:
    parent = telemetry.new_traceparent()
    child = telemetry.child_traceparent(parent)
    assert telemetry.trace_id_of(child) == telemetry.trace_id_of(parent) != ""
    assert child.split("-")[2] != parent.split("-")[2]


@pytest.mark.parametrize(
    "text",
    ["", "abc", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "00-" + "1" * 32 + "-" + "0" * 16 + "-01", "01-" + "a" * 32],
)
def test_an_invalid_trace_context_has_no_trace_and_no_children(text: str) -> None:
    assert telemetry.trace_id_of(text) == ""
    assert telemetry.trace_id_of(telemetry.child_traceparent(text)) not in ("", "0" * 32)


def test_a_log_line_carries_the_ids_of_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr("sys.stderr", output)
    structlog.reset_defaults()
    telemetry.configure_logging("test", "i1", "info")
    now = datetime(2026, 11, 21, tzinfo=UTC)
    envelope = Envelope(
        specversion=SPEC_VERSION, id="m1", source="s", type="t", subject="run.r1", time=now, dataschema="d", runid="r1",
        sessionid="s1", correlationid="c1",
    )  # fmt: skip
    with telemetry.message_context(envelope):
        telemetry.get_logger().info("run_started", seconds=1.5)
    telemetry.get_logger().debug("hidden")
    (line,) = [json.loads(text) for text in output.getvalue().splitlines()]
    assert line["event"] == "run_started"
    assert (line["run_id"], line["session_id"], line["trace_id"], line["message_id"]) == ("r1", "s1", "c1", "m1")
    assert (line["service"], line["instance"], line["level"]) == ("test", "i1", "info")
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full exists on Linux only")
def test_a_log_line_that_cannot_be_written_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("w", encoding="utf-8", buffering=1)  # noqa: SIM115 - closing it must fail
    monkeypatch.setattr("sys.stderr", full)
    structlog.reset_defaults()
    telemetry.configure_logging("test", "i1", "info")
    for _ in range(3):
        telemetry.get_logger().info("run_projected", position=1)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()
    with pytest.raises(OSError, match="No space left"):  # as without the guard
        full.close()
