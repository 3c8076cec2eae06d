"""Records of the files in which nats-server stores messages."""

from __future__ import annotations


def record(sequence: int, payload: bytes, subject: bytes = b"syntor.events.run.r1.run_done") -> bytes:
    """Return a record as nats-server stores it, without headers; its checksum is not valid."""
    size = 22 + len(subject) + len(payload) + 8
    head = size.to_bytes(4, "little") + sequence.to_bytes(8, "little") + bytes(8) + len(subject).to_bytes(2, "little")
    return head + subject + payload + bytes(8)
