"""Reads positions out of the files in which nats-server 2.15 stores messages. Pure.

A file is a row of records: length, sequence, time, subject, headers, payload, checksum. A file that is full may be
compressed as a whole (S2); of such a file only the very beginning is read.
"""

from __future__ import annotations

import msgspec

_HEAD_BYTES = 12  # length and sequence
_HAS_HEADERS = 1 << 31  # flag in the length
_SEQUENCE = (1 << 62) - 1  # above are the flags of erased messages and of tombstones
_TOMBSTONE = 1 << 62  # flag of a record that says which earlier message was deleted
_SMALLEST_RECORD, _LARGEST_RECORD = 30, 64 * 1024 * 1024
COMPRESSED = b"cmp"  # how a compressed file begins
_S2_MAGIC = b"\xff\x06\x00\x00S2sTwO"


def first_position(content: bytes) -> int:
    """Return the position of the first message of a file; 0: it has none, or its form is not known."""
    head = content[:_HEAD_BYTES]
    if content.startswith(COMPRESSED):
        head = _decompressed_head(content)
    return _sequence(head, 0) if len(head) == _HEAD_BYTES else 0


class Extent(msgspec.Struct, frozen=True):
    """How far the records of a file reach."""

    last: int
    """Position of the last complete record; 0: there is none, or the file is compressed."""
    broken: int = 0
    """Position whose record is damaged although records follow it; 0: none."""


def extent(content: bytes) -> Extent:
    """Return how far the records of a file reach.

    A record that is not complete at the end of the file is the trace of a crash, not damage.
    """
    if content.startswith(COMPRESSED):
        return Extent(0)
    last = offset = 0
    while offset + _HEAD_BYTES <= len(content):
        size = int.from_bytes(content[offset : offset + 4], "little") & ~_HAS_HEADERS
        number = int.from_bytes(content[offset + 4 : offset + _HEAD_BYTES], "little")
        if not _SMALLEST_RECORD <= size <= _LARGEST_RECORD or offset + size > len(content):
            following = (last + 2).to_bytes(8, "little")
            return Extent(last, last + 1 if last and content.find(following, offset + _HEAD_BYTES) > 0 else 0)
        if not number & _TOMBSTONE:
            last = max(last, number & _SEQUENCE)
        offset += size
    return Extent(last)


def positions_in(content: bytes, start: int, end: int) -> tuple[int, int]:
    """Return the first and last position with bytes in a range of a file; 0 where it cannot be said.

    The range may be damaged: the records before it lead to it, those after it are not needed.
    """
    if content.startswith(COMPRESSED):
        return 0, 0
    first = last = 0
    offset = 0
    while offset + _HEAD_BYTES <= len(content) and offset < end:
        size = int.from_bytes(content[offset : offset + 4], "little") & ~_HAS_HEADERS
        sequence = _sequence(content, offset)
        if not _SMALLEST_RECORD <= size <= _LARGEST_RECORD or (last and sequence < last):
            return first or last + 1, 0  # damaged itself
        if offset + size > start and not first:
            first = min(sequence, last + 1) if last else sequence
        last = sequence
        offset += size
    return first, last


def _sequence(content: bytes, offset: int) -> int:
    return int.from_bytes(content[offset + 4 : offset + _HEAD_BYTES], "little") & _SEQUENCE


def _decompressed_head(content: bytes) -> bytes:
    """Return the first bytes of a compressed file, decompressed; fewer where its form is not known."""
    start = content.find(_S2_MAGIC, 0, 32)
    if start < 0:
        return b""
    chunk = start + len(_S2_MAGIC)
    if content[chunk : chunk + 1] == b"\x01":  # stored as it is, after a type, three bytes of length and a checksum
        return content[chunk + 8 : chunk + 8 + _HEAD_BYTES]
    at = chunk + 8
    while at < len(content) and content[at] & 0x80:  # the decompressed length, a varint
        at += 1
    return _first_elements(content, at + 1)


def _first_elements(content: bytes, at: int) -> bytes:
    """Decode literals and short copies of an S2 block until the head of a record is complete."""
    out = bytearray()
    while len(out) < _HEAD_BYTES and at + 1 < len(content):
        tag = content[at]
        if tag & 3 == 0 and tag >> 2 < 61:  # a literal; its length is in the tag, or in the byte after it
            in_tag = tag >> 2 < 60
            size = (tag >> 2 if in_tag else content[at + 1]) + 1
            at += 1 if in_tag else 2
            out += content[at : at + size]
            at += size
        elif tag & 3 == 1:  # a copy of 4 to 11 bytes from close by
            offset, size = (tag >> 5) << 8 | content[at + 1], 4 + (tag >> 2 & 7)
            at += 2
            if not 0 < offset <= len(out):
                break
            for _ in range(size):
                out.append(out[-offset])
        else:
            break
    return bytes(out[:_HEAD_BYTES])
