r"""Names of files as a model sees and writes them.

A name that is not UTF-8, or holds control, direction or invisible characters, is shown in git's quoted form:
`"caf\351.txt"`. Only this form is understood back, so no name has two spellings.
"""

from __future__ import annotations

import re

_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_UNESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b'"': b'"', b"\\": b"\\"}
_ESCAPED = re.compile(rb'\\([0-7]{3}|[ntr"\\])')


def quoted(name: str) -> str:
    """Return a name or path for a model; bytes that are not UTF-8 are lone surrogates in it, as `os` returns them."""
    if name.isprintable() and not name.startswith('"'):
        return name
    return '"' + "".join(_ESCAPES.get(sign) or (sign if sign.isprintable() else _octal(sign)) for sign in name) + '"'


def unquoted(text: str) -> str:
    """Return the name a model means: the inverse of `quoted`; any other text is a name as it stands."""
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return text
    try:
        raw = _ESCAPED.sub(_byte, text[1:-1].encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return text
    name = raw.decode("utf-8", "surrogateescape")
    return name if quoted(name) == text else text


def _octal(sign: str) -> str:
    if "\ud800" <= sign <= "\udfff" and not "\udc80" <= sign <= "\udcff":
        return f"\\u{ord(sign):04x}"  # half a character, which no file name holds
    return "".join(f"\\{byte:03o}" for byte in sign.encode("utf-8", "surrogateescape"))


def _byte(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    return _UNESCAPES[escape] if escape in _UNESCAPES else bytes([int(escape, 8) & 255])
