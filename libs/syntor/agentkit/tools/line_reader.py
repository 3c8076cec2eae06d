"""Reads a range of lines from a file of any size, holding no more than the range in memory."""

from __future__ import annotations

import codecs
import io
import os
from typing import BinaryIO

import msgspec

from syntor.agentkit.domain import text_format
from syntor.agentkit.domain.tool_error import ToolError

WHOLE_BYTES = 4 * 1024 * 1024  # a file up to this is decoded whole
MAX_SCAN_BYTES = 256 * 1024 * 1024  # of a larger one, this much is searched for lines
_MAX_LINE_CHARACTERS = 2000
_MAX_RANGE_BYTES = 1024 * 1024
_CHUNK_BYTES = 1024 * 1024


class Excerpt(msgspec.Struct, frozen=True):
    """Lines of a file."""

    lines: list[str]
    """Without line ends; long ones are cut, and say so."""
    before: int
    """Lines before them; where none was found, lines of the file."""
    rest: int
    """Number of lines behind them."""
    complete: bool
    """Whether all of the file was searched; else there are at least that many."""
    form: str
    """Encoding and line ends; empty: the file is too large to tell."""


def read_lines(file: BinaryIO, first: int, count: int) -> Excerpt:
    """Return `count` lines from line `first` (from 1).

    Raises:
        ToolError: the file is not text, or larger than can be searched for the range.
    """
    if os.fstat(file.fileno()).st_size > WHOLE_BYTES:
        return _scan(file, first, count)
    text = text_format.decode(file.read(WHOLE_BYTES))
    lines = text.lines.removesuffix("\n").split("\n") if text.lines else []
    shown = lines[first - 1 : first - 1 + count]
    rest = len(lines) - (first - 1) - len(shown)
    before = first - 1 if shown else len(lines)
    return Excerpt([_cut(line) for line in shown], before, rest if shown else 0, True, text.form.describe())


def _scan(file: BinaryIO, first: int, count: int) -> Excerpt:
    """Search a large file for a range of lines, chunk by chunk."""
    number, scanned, last, wanted = 0, 0, b"", io.BytesIO()  # `number`: line ends seen
    while (chunk := file.read(_CHUNK_BYTES)) and scanned < MAX_SCAN_BYTES:
        if scanned == 0 and chunk.startswith(tuple(bom for bom, name in text_format.BOMS if name != "utf-8")):
            raise ToolError("is UTF-16 or UTF-32 and too large to read in parts; convert it with iconv")
        if b"\0" in chunk and number < first + count:
            raise ToolError("is not a text file: it holds NUL bytes")
        scanned, last = scanned + len(chunk), chunk[-1:]
        ends = chunk.count(b"\n")
        if number + ends >= first - 1 and number < first + count - 1 and wanted.tell() < _MAX_RANGE_BYTES:
            wanted.write(_part(chunk, first - 1 - number, first + count - 1 - number))
        number += ends
    complete = not chunk
    data = wanted.getvalue()[:_MAX_RANGE_BYTES]
    total = number + (last != b"\n")
    lines = [_cut(_decoded(line)) for line in data.removesuffix(b"\n").split(b"\n")] if data else []
    if not lines and not complete:
        raise ToolError(f"has its line {first} behind the first {MAX_SCAN_BYTES} bytes; use grep")
    rest = max(total - (first - 1) - len(lines), 0 if complete else 1)
    return Excerpt(lines, first - 1 if lines else total, rest if lines else 0, complete, "")


def _part(chunk: bytes, start: int, end: int) -> bytes:
    """Return the part of a chunk after `start` and before `end` line ends, each counted from its beginning."""
    begin = 0
    for _ in range(max(start, 0)):
        begin = chunk.find(b"\n", begin) + 1
    stop = begin
    for _ in range(end - max(start, 0)):
        found = chunk.find(b"\n", stop)
        if found < 0:
            return chunk[begin:]
        stop = found + 1
    return chunk[begin:stop]


def _decoded(line: bytes) -> str:
    return line.removesuffix(b"\r").removeprefix(codecs.BOM_UTF8).decode("utf-8", "backslashreplace")


def _cut(line: str) -> str:
    rest = len(line) - _MAX_LINE_CHARACTERS
    return line if rest <= 0 else f"{line[:_MAX_LINE_CHARACTERS]}... {rest} characters of this line were left out"
