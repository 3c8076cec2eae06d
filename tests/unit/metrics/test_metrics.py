"""What was counted is what a scrape shows."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from syntor.metrics import Counter, Gauge, Histogram
from syntor.metrics.rendering import render

REQUESTS = Counter("test_requests_total", "Requests", ("route",))
OPEN = Gauge("test_open", "Open streams")
SECONDS = Histogram("test_seconds", "Seconds", ("route",))


def samples() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(render().decode())
        for sample in family.samples
    }


def test_counters_gauges_and_histograms_show_what_was_counted() -> None:
    REQUESTS.labels("/a").inc()
    REQUESTS.labels("/a").inc(2)
    OPEN.labels().inc()
    OPEN.labels().inc()
    OPEN.labels().dec()
    for seconds in (0.001, 0.002, 400.0):
        SECONDS.labels("/a").observe(seconds)
    found = samples()
    route = ("route", "/a")
    assert found["test_requests_total", (route,)] == 3
    assert found["test_open", ()] == 1
    assert found["test_seconds_count", (route,)] == 3
    assert found["test_seconds_sum", (route,)] == pytest.approx(400.003)
    assert found["test_seconds_bucket", (("le", "0.001"), route)] == 1
    assert found["test_seconds_bucket", (("le", "0.0025"), route)] == 2
    assert found["test_seconds_bucket", (("le", "300.0"), route)] == 2
    assert found["test_seconds_bucket", (("le", "+Inf"), route)] == 3
    assert any(name == "process_resident_memory_bytes" for name, _ in found) or sys.platform != "linux"


def test_a_name_is_taken_once_and_labels_are_checked() -> None:
    with pytest.raises(ValueError, match="exists already"):
        Gauge("test_open", "Again")
    with pytest.raises(ValueError, match="route"):
        REQUESTS.labels("/a", "GET")


def test_counting_does_not_load_the_renderer() -> None:
    program = "import sys, syntor.metrics, syntor.runtime.process; print('prometheus_client' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "False"
