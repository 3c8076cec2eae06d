"""The table of metrics in docs/metrics.md is complete, and their names follow Prometheus' practice."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from syntor.metrics import instruments

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
SERVICES = (
    "syntor.ingress.__main__",
    "syntor.orchestrator.__main__",
    "syntor.registry.__main__",
    "syntor.projector.__main__",
    "syntor.agents.worker.__main__",
    "syntor.agents.user_defined.__main__",
    "syntor.agents.external_gateway.__main__",
    "syntor.models.guard",
)
UNITS = ("_seconds", "_bytes", "_messages", "_dollars", "_tokens", "_info", "_tasks")
COUNTED = ("syntor_sse_clients", "syntor_runs_open", "syntor_dead_letters", "syntor_approvals_pending")
"""Gauges that count what their name says."""
WITHOUT_UNIT = ("syntor_breaker_state", "syntor_projection_position")


@pytest.fixture(scope="module", autouse=True)
def services() -> None:
    """Load every module that has metrics."""
    for name in SERVICES:
        importlib.import_module(name)


def families() -> list[instruments.Family]:
    return sorted((f for f in instruments.FAMILIES if f.name.startswith("syntor_")), key=lambda family: family.name)


def row(family: instruments.Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return f"| `{family.name}` | {family.kind} | {labels} | {family.help} |"


def test_the_table_is_complete() -> None:
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith("| `syntor_")]
    assert shown == [row(family) for family in families()]


def test_names_and_units_are_those_prometheus_recommends() -> None:
    for family in families():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", family.name), family.name
        assert family.help[0].isupper() or family.help[0].isdigit(), family.help
        assert not family.help.endswith("."), family.help
        assert all(re.fullmatch(r"[a-z]+", label) and label not in ("le", "job", "instance") for label in family.labels)
        if family.kind == "counter":
            assert family.name.endswith("_total"), family.name
        elif family.kind == "histogram":
            assert family.name.endswith("_seconds"), family.name
        else:
            assert family.name.endswith(UNITS) or family.name in (*COUNTED, *WITHOUT_UNIT), family.name
        assert not family.name.endswith(("_count", "_sum", "_bucket", "_ms", "_milliseconds")), family.name


def test_no_metric_grows_without_end() -> None:
    counter = instruments.Counter("test_unbounded_total", "Counts names from outside", ("name",))
    for number in range(2 * instruments.MAX_SERIES):
        counter.labels(str(number)).inc()
    family = next(family for family in instruments.FAMILIES if family.name == "test_unbounded_total")
    assert len(family.values) == instruments.MAX_SERIES + 1
    assert family.values[(instruments.OTHER,)].value == instruments.MAX_SERIES
    histogram = instruments.Histogram("test_unbounded_seconds", "Times names from outside", ("name",), (1.0, 2.0))
    for number in range(2 * instruments.MAX_SERIES):
        histogram.labels(str(number)).observe(1.5)
    seconds = next(family for family in instruments.FAMILIES if family.name == "test_unbounded_seconds")
    assert len(seconds.distributions) == instruments.MAX_SERIES + 1
    assert seconds.distributions[(instruments.OTHER,)].counts == [0, instruments.MAX_SERIES, 0]
