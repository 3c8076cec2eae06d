"""Renders a process's metrics in the Prometheus text format. Loading this loads prometheus_client."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import prometheus_client
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from syntor.metrics.instruments import FAMILIES

CONTENT_TYPE: str = prometheus_client.CONTENT_TYPE_LATEST


class _Instruments(Collector):
    """Gives our numbers to prometheus_client, at the moment of a scrape."""

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            if family.kind == "histogram":
                histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
                for labels, observed in family.distributions.items():
                    bounds = [*(str(bound) for bound in observed.bounds), "+Inf"]
                    buckets = zip(bounds, (float(count) for count in accumulate(observed.counts)), strict=True)
                    histogram.add_metric(labels, list(buckets), observed.sum)
                yield histogram
                continue
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric = kind(family.name, family.help, labels=family.labels)
            for labels, number in family.values.items():
                metric.add_metric(labels, number.value)
            yield metric


prometheus_client.REGISTRY.register(_Instruments())


def render() -> bytes:
    """Return all metrics of this process, its memory and CPU included, as Prometheus text."""
    return prometheus_client.generate_latest()
