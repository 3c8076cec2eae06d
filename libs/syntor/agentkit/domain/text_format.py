r"""How the text of a file is stored: encoding, byte order mark, line ends. Pure; what is unchanged keeps its bytes.

Text is handled with `\n` at the end of each line. The line ends a file really has are kept per line, so a file that
mixes them keeps its mixture.
"""

from __future__ import annotations

import codecs
from bisect import bisect_left

import msgspec

from syntor.agentkit.domain.tool_error import ToolError

BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE_BYTES = 32 * 1024  # guessed from; the whole is then decoded
_GUESSED = ["cp1252", "cp1250", "cp1251", "koi8_r", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr", "iso8859_7"]
_ENDS = {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}


class TextFormat(msgspec.Struct, frozen=True):
    """Form of a text file."""

    encoding: str = "utf-8"
    bom: bytes = b""
    newline: str = "\n"
    """End of most lines; what a new line gets."""
    mixed: bool = False
    """Whether lines end in different ways."""

    def describe(self) -> str:
        """Return the form for people: `UTF-8, LF`."""
        name = self.encoding.upper() + (" with BOM" if self.bom and self.encoding == "utf-8" else "")
        return f"{name}, {'mixed line ends' if self.mixed else _ENDS[self.newline]}"


class Text:
    """The text of a file, and its form."""

    def __init__(self, raw: str, form: TextFormat) -> None:
        self.form = form
        self.raw = raw
        """Its text with the line ends it really has."""
        self.lines = raw.replace("\r\n", "\n") if form.newline != "\r" else raw.replace("\r", "\n")
        """Its text, lines ended by `\\n`."""

    def replaced(self, spans: list[tuple[int, int, str]]) -> str:
        """Return the raw text with parts replaced; every other character stays as it is.

        Args:
            spans: start and end in `lines` and the new text, in order and without overlap.
        """
        removed = self._positions_of_crlf()
        parts: list[str] = []
        at = 0
        for start, end, new in spans:
            raw_start = start + bisect_left(removed, start)
            parts += (self.raw[at:raw_start], new.replace("\r\n", "\n").replace("\n", self.form.newline))
            at = end + bisect_left(removed, end)
        return "".join([*parts, self.raw[at:]])

    def _positions_of_crlf(self) -> list[int]:
        """Return where in `lines` a line feed stands for two characters."""
        found: list[int] = []
        start = self.raw.find("\r\n")
        while start >= 0:
            found.append(start - len(found))
            start = self.raw.find("\r\n", start + 2)
        return found


def decode(data: bytes) -> Text:
    """Return the text of a file.

    Raises:
        ToolError: it is not text.
    """
    for bom, encoding in BOMS:
        if data.startswith(bom):
            try:
                return _measured(data[len(bom) :].decode(encoding), encoding, bom)
            except UnicodeDecodeError:
                break
    if b"\0" in data:
        raise ToolError("is not a text file: it holds NUL bytes")
    try:
        return _measured(data.decode("utf-8"), "utf-8", b"")
    except UnicodeDecodeError:
        encoding = guess(data)
        return _measured(data.decode(encoding), encoding, b"")


def guess(data: bytes) -> str:
    """Return the likely encoding of bytes that are not UTF-8; decoding and encoding them gives the same bytes."""
    from charset_normalizer import from_bytes  # imported where it is needed: files in other encodings are rare

    best = from_bytes(data[:_SAMPLE_BYTES], cp_isolation=_GUESSED).best()
    for encoding in (best.encoding if best is not None else "", "cp1252"):
        try:
            if encoding and data.decode(encoding).encode(encoding) == data:
                return encoding
        except UnicodeError:
            continue
    return "latin-1"


def encode(raw: str, form: TextFormat) -> bytes:
    """Return the bytes of a text in a form; line ends are written as they are.

    Raises:
        ToolError: the encoding has no such character.
    """
    try:
        return form.bom + raw.encode(form.encoding)
    except UnicodeEncodeError as exc:
        sign = raw[exc.start : exc.start + 1]
        raise ToolError(
            f"the file is {form.encoding.upper()}, which has no {sign!r}; "
            "use other characters, or convert the file first (iconv)"
        ) from exc


def as_file(content: str, form: TextFormat | None) -> tuple[str, TextFormat]:
    """Return a whole new content with a file's own line ends, and the form it then has.

    Args:
        form: of the file it replaces; None: it is new, and the content is taken as it is.
    """
    if form is None:
        return content, _measured(content, "utf-8", b"").form
    if "\r" not in content and not form.mixed:
        content = content.replace("\n", form.newline)
    return content, _measured(content, form.encoding, form.bom).form


def as_text(raw: str, form: TextFormat) -> Text:
    """Return a text that is to be stored in the encoding of a form, with the line ends it has itself."""
    return _measured(raw, form.encoding, form.bom)


def _measured(raw: str, encoding: str, bom: bytes) -> Text:
    crlf = raw.count("\r\n")
    lf, cr = raw.count("\n") - crlf, raw.count("\r") - crlf
    newline = "\r" if cr and not lf and not crlf else "\r\n" if crlf > lf else "\n"
    return Text(raw, TextFormat(encoding, bom, newline, mixed=bool(crlf and lf) or bool(cr and (crlf or lf))))
