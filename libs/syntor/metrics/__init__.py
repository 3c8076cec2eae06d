"""Counters, gauges and histograms of a process, rendered by prometheus_client at a scrape."""

from syntor.metrics.instruments import Counter, Gauge, Histogram

__all__ = ["Counter", "Gauge", "Histogram"]
