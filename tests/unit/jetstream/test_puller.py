"""Ack subjects of both versions."""

from __future__ import annotations

import pytest

from syntor.jetstream.puller import parse_metadata


@pytest.mark.parametrize(
    "subject",
    [
        "$JS.ACK.EVENTS.worker.2.77.31.1760000000123456789.5",
        "$JS.ACK._.AbCdEf.EVENTS.worker.2.77.31.1760000000123456789.5",
        "$JS.ACK.hub.AbCdEf.EVENTS.worker.2.77.31.1760000000123456789.5.rAnDoM",
    ],
)
def test_both_versions_of_ack_subjects_are_parsed(subject: str) -> None:
    meta = parse_metadata(subject)

    assert (meta.delivered, meta.position, meta.consumer_sequence, meta.pending) == (2, 77, 31, 5)
    assert meta.timestamp_ns == 1760000000123456789
