"""Metrics of a process: plain numbers, kept until they are rendered.

prometheus_client brings an HTTP server, wsgiref and their imports: 2 to 4 MB in each of eleven processes, most of which
are never scraped. So counting needs none of it, and `rendering` loads it at the first scrape. Not thread-safe: services
count on their event loop only.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

DEFAULT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0)
"""Upper bounds in seconds: from a decision in memory to a long model call."""
MAX_SERIES = 500  # of one metric; names that come from outside (models, tools, agents) must not fill the memory
OTHER = "other"
"""Every label's value in the one series that takes what comes after `MAX_SERIES`."""


class Value:
    """One number."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, by: float = 1.0) -> None:
        """Increase the number."""
        self.value += by

    def dec(self, by: float = 1.0) -> None:
        """Decrease the number; for gauges."""
        self.value -= by

    def set(self, value: float) -> None:
        """Replace the number; for gauges."""
        self.value = value


class Distribution:
    """Observations, counted by bucket."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = DEFAULT_BUCKETS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Record one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Family(msgspec.Struct):
    """A metric: its name and meaning, and its values by label values."""

    kind: str
    name: str
    help: str
    labels: tuple[str, ...]
    values: dict[tuple[str, ...], Value]
    distributions: dict[tuple[str, ...], Distribution]

    def key(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """Return the label values of the series that new ones belong to."""
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {values}")
        full = len(self.values) + len(self.distributions) >= MAX_SERIES
        return (OTHER,) * len(values) if full and values else values


FAMILIES: list[Family] = []
"""All metrics of this process, in the order they were made."""


def _family(kind: str, name: str, help_text: str, labels: tuple[str, ...]) -> Family:
    if any(family.name == name for family in FAMILIES):
        raise ValueError(f"metric {name!r} exists already")
    family = Family(kind, name, help_text, labels, {}, {})
    FAMILIES.append(family)
    return family


class _Scalar:
    _kind = ""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> None:
        self._family = _family(self._kind, name, help_text, labels)
        if not labels:
            self.labels()

    def labels(self, *values: str) -> Value:
        """Return the number for these label values, in the order of the labels."""
        found = self._family.values.get(values)
        return self._family.values.setdefault(self._family.key(values), Value()) if found is None else found


class Counter(_Scalar):
    """A number that only grows; its name ends in `_total`."""

    _kind = "counter"


class Gauge(_Scalar):
    """A number that goes up and down."""

    _kind = "gauge"


class Histogram:
    """Observations, in seconds."""

    def __init__(
        self, name: str, help_text: str, labels: tuple[str, ...] = (), bounds: tuple[float, ...] = DEFAULT_BUCKETS
    ) -> None:
        """Prepare.

        Args:
            bounds: upper bounds of the buckets, ascending.
        """
        self._family = _family("histogram", name, help_text, labels)
        self._bounds = bounds

    def labels(self, *values: str) -> Distribution:
        """Return the observations for these label values, in the order of the labels."""
        found = self._family.distributions.get(values)
        if found is None:
            found = self._family.distributions.setdefault(self._family.key(values), Distribution(self._bounds))
        return found
