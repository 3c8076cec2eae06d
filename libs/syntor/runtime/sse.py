"""Server-sent events as they are on the wire: the one parser of CLI, external agents and providers.

Follows the HTML standard, section 9.2.6: lines end at CR, LF or CRLF only, so U+2028, U+0085 or a form feed inside a
text are part of it (`str.splitlines`, which HTTP clients use to iterate over lines, ends lines there); an event ends at
an empty line, and one that has none when the stream ends is incomplete and discarded.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

import msgspec

MAX_CHARACTERS = 64 * 1024 * 1024  # an endless line or event must not fill the memory
_LINE_END = re.compile("\r\n|\n|\r")


class ServerEvent(msgspec.Struct, frozen=True):
    """One event."""

    name: str
    """`message` where the stream names none."""
    data: str


class Lines:
    """Splits the bytes of one stream into lines, which end at CR, LF or CRLF."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._rest: list[str] = []
        self._size = 0
        self._ended_with_cr = False

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield the lines that a chunk completes, without their ends.

        Raises:
            ValueError: a line is longer than `MAX_CHARACTERS`.
        """
        text = self._decode(chunk)
        if not text:
            return
        if self._ended_with_cr:
            text = text.removeprefix("\n")
        self._ended_with_cr = text.endswith("\r")
        *lines, rest = _LINE_END.split(text)
        for line in lines:
            whole = "".join([*self._rest, line])
            self._rest, self._size = [], 0
            yield whole
        self._rest.append(rest)
        self._size += len(rest)
        if self._size > MAX_CHARACTERS:
            raise ValueError(f"a line of more than {MAX_CHARACTERS} characters")


class SseParser:
    """Parses the bytes of one stream into events."""

    def __init__(self) -> None:
        self.last_event_id = ""
        """Last event id of the stream so far: what a client sends to resume; empty: none."""
        self._lines = Lines()
        self._id = ""
        self._name = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Yield the events that a chunk completes.

        Raises:
            ValueError: an event is longer than `MAX_CHARACTERS`.
        """
        for line in self._lines.feed(chunk):
            if (event := self._line(line)) is not None:
                yield event

    def _line(self, line: str) -> ServerEvent | None:
        """Take in one line; return the event it ends."""
        if not line:
            event = ServerEvent(self._name or "message", "\n".join(self._data)) if self._data else None
            self._name, self._data, self._size = "", [], 0
            self.last_event_id = self._id
            return event
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
            self._size += len(value)
            if self._size > MAX_CHARACTERS:
                raise ValueError(f"an event of more than {MAX_CHARACTERS} characters")
        elif field == "event":
            self._name = value
        elif field == "id" and "\0" not in value:
            self._id = value
        return None


def parse(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Yield the events of a stream."""
    parser = SseParser()
    for chunk in chunks:
        yield from parser.feed(chunk)


async def parse_async(chunks: AsyncIterable[bytes]) -> AsyncIterator[ServerEvent]:
    """Yield the events of a stream."""
    parser = SseParser()
    async for chunk in chunks:
        for event in parser.feed(chunk):
            yield event


async def lines_async(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Yield the lines of a stream; the last one too if it has no end."""
    lines = Lines()
    async for chunk in chunks:
        for line in lines.feed(chunk):
            yield line
    for line in lines.feed(b"\n"):
        yield line
