"""A soak measures each process since its last start, and ends no process of the stack in its second half."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from syntor.faults import soak
from syntor.faults.fault import DEATHS
from syntor.faults.plan import SERVICES
from syntor.faults.report import Report
from syntor.faults.resources import Resources, Sample, Slope, least_squares, read_sample, slope_of
from syntor.faults.soak import Settings, SoakReport, faults


def test_the_second_half_ends_no_process_of_the_stack() -> None:
    found = list(faults(7, 400, soak.KINDS))
    assert len(found) == 400
    ends = [injection.action in DEATHS and injection.target in SERVICES for injection in found]
    assert any(ends[:200])
    assert not any(ends[200:])
    assert {injection.target for injection in found[200:]} >= {"second agents.worker", "connection", "nats"}
    assert all(each.pause_s < 2.0 for each in found if each.target == "nats")


def test_slopes_are_those_of_a_line_per_hour() -> None:
    samples = [Sample(float(at), 1000 + 2 * at, 10) for at in range(0, 100, 10)]
    slope = slope_of("p", samples)
    assert slope.rss_per_hour == pytest.approx(7200)
    assert (slope.files_per_hour, slope.rss_bytes, slope.samples, slope.lasted_s) == (0.0, 1180, 10, 90.0)
    assert least_squares([1.0, 1.0], [2.0, 3.0]) == 0.0


def test_a_restarted_process_begins_anew_and_its_warm_up_is_left_out() -> None:
    command = [sys.executable, "-S", "-c", "print(flush=True); input()"]
    first, second = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in "12"]
    for process in (first, second):
        assert process.stdout is not None
        process.stdout.readline()  # it has started: its open files do not change any more
    resources = Resources()
    try:
        for at in range(12):
            resources.sample(float(at), [("p", first.pid), ("own", os.getpid())])
        for at in range(12, 36):
            resources.sample(float(at), [("p", second.pid), ("gone", 0)])
    finally:
        for process in (first, second):
            process.communicate(b"\n")
    [own, slope] = resources.slopes(warm_up_s=1.0)
    assert (own.process, slope.process) == ("own", "p")
    assert (slope.samples, slope.lasted_s) == (23, 22.0)
    assert slope.files == 3
    assert slope.rss_bytes > 1 << 20
    assert read_sample(first.pid, 0.0) is None


def test_growth_is_a_violation_once_it_was_measured_for_long_enough() -> None:
    settings = Settings(seed=1, minutes=60, share=0.7, every_s=10)
    flat = Slope("flat", 1700.0, 300, 80 << 20, 20, 1 << 20, 0.1)
    grows = Slope("grows", 1700.0, 300, 80 << 20, 20, 90 << 20, 0.1)
    leaks = Slope("leaks", 1700.0, 300, 80 << 20, 900, 0.0, 500.0)
    short = Slope("short", 100.0, 20, 80 << 20, 20, 900 << 20, 500.0)
    report = SoakReport(
        settings=settings, campaign=Report(seed=1, points=1, command=""), slopes=[flat, grows, leaks, short]
    )
    assert report.violations == [
        "the memory of grows grows by 90 MB per hour",
        "the open files of leaks grow by 500 per hour",
    ]
    report.campaign.events, report.campaign.duration_s = 500_000, 3600.0
    report.slopes = [msgspec.structs.replace(each, process="nats") for each in (flat, grows)]
    assert report.growth == [], "420 bytes an event are the server's index of subjects"
    report.campaign.events = 100_000
    assert report.growth == ["the memory of nats grows by 90 MB per hour"]
    report.slopes = [flat, grows, leaks, short]
    report.campaign.events = 0
    text = report.text()
    assert all(slope.process in text for slope in report.slopes)
    assert "2 violations" in text
