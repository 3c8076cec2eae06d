"""Samples of the memory and the open files of processes, and their slopes. Reads /proc, so Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

MIN_SAMPLES = 10
WARM_UP_S = 120.0  # caches fill, modules load and buffers grow in the first minutes of a process
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Sample(msgspec.Struct, frozen=True):
    """What one process used at one time."""

    at_s: float
    """Seconds since the start of the measurement."""
    rss_bytes: int
    files: int
    """Open file descriptors."""


class Slope(msgspec.Struct, frozen=True):
    """How what a process uses changed since its last start, warm-up left out."""

    process: str
    lasted_s: float
    """Time between the first and the last sample used."""
    samples: int
    rss_bytes: int
    """Memory at the end."""
    files: int
    """Open file descriptors at the end."""
    rss_per_hour: float
    """Bytes per hour, least squares."""
    files_per_hour: float


class Resources:
    """Samples by process; a process that restarts begins anew."""

    def __init__(self) -> None:
        self._samples: dict[str, list[Sample]] = {}
        self._pids: dict[str, int] = {}

    def sample(self, at_s: float, processes: Iterable[tuple[str, int]]) -> None:
        """Take a sample of each process that runs.

        Args:
            processes: name and process id of each.
        """
        for name, pid in processes:
            taken = read_sample(pid, at_s)
            if taken is None:
                continue
            if self._pids.get(name) != pid:
                self._pids[name], self._samples[name] = pid, []
            self._samples[name].append(taken)

    def slopes(self, warm_up_s: float = WARM_UP_S) -> list[Slope]:
        """Return the slope of each process that ran for long enough, by name."""
        found: list[Slope] = []
        for name, samples in sorted(self._samples.items()):
            used = [sample for sample in samples if sample.at_s >= samples[0].at_s + warm_up_s]
            if len(used) >= MIN_SAMPLES:
                found.append(slope_of(name, used))
        return found


def read_sample(pid: int, at_s: float) -> Sample | None:
    """Return what a process uses; None: it does not run, or is not ours."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return Sample(at_s, pages * _PAGE_BYTES, len(os.listdir(f"/proc/{pid}/fd")))
    except (OSError, IndexError):
        return None


def slope_of(process: str, samples: list[Sample]) -> Slope:
    """Return the least-squares slopes of at least two samples."""
    times = [sample.at_s for sample in samples]
    last = samples[-1]
    return Slope(
        process,
        last.at_s - samples[0].at_s,
        len(samples),
        last.rss_bytes,
        last.files,
        least_squares(times, [float(sample.rss_bytes) for sample in samples]) * 3600,
        least_squares(times, [float(sample.files) for sample in samples]) * 3600,
    )


def least_squares(times: list[float], values: list[float]) -> float:
    """Return the slope of the line through points that has the least squared distance from them; 0: all at one time."""
    mean_time, mean_value = sum(times) / len(times), sum(values) / len(values)
    spread = sum((time - mean_time) ** 2 for time in times)
    moved = sum((time - mean_time) * (value - mean_value) for time, value in zip(times, values, strict=True))
    return moved / spread if spread else 0.0
