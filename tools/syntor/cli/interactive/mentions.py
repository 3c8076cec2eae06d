"""`@file` in a message: the file's text becomes an attachment."""

from __future__ import annotations

import re
from pathlib import Path

from syntor.contracts.errors import InvalidInputError
from syntor.contracts.run.v1 import Attachment

MAX_BYTES = 256 * 1024
_MENTION = re.compile(r"""(?:(?<=\s)|\A)(\\?)@(?:"([^"\n]+)"|([^\s"]+))""")
_CLOSING = ".,;:!?)]}'\""


def mentioned(text: str) -> list[str]:
    r"""Return the files a text mentions, as written, each once; `\@` is no mention."""
    names = [match[2] or match[3] for match in _MENTION.finditer(text) if not match[1]]
    return list(dict.fromkeys(names))


def without_escapes(text: str) -> str:
    r"""Return the text with each `\@` as the `@` it stands for."""
    return _MENTION.sub(lambda match: match[0][1:] if match[1] else match[0], text)


def attachments(text: str, folder: Path) -> list[Attachment]:
    """Return the attachments of a message: name and content of each file it mentions.

    Raises:
        InvalidInputError: a file is missing, is not text, or is too large.
    """
    found: dict[str, str] = {}
    for name in mentioned(text):
        path, shown = _find(name, folder)
        if shown not in found:
            found[shown] = _content(path, shown)
    return [Attachment(name=name, content=content) for name, content in found.items()]


def _find(name: str, folder: Path) -> tuple[Path, str]:
    """Return the file a mention means: without trailing punctuation when only that exists."""
    for candidate in dict.fromkeys((name, name.rstrip(_CLOSING))):
        path = folder / Path(candidate).expanduser() if candidate else folder
        if candidate and path.is_file():
            return path, candidate
        if candidate and path.is_dir():
            raise InvalidInputError(f"@{candidate} is a folder; mention the files in it")
    raise InvalidInputError(f"no file {name!r} here; nothing was sent (for a plain @ type \\@)")


def _content(path: Path, shown: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise InvalidInputError(f"@{shown} cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_BYTES:
        raise InvalidInputError(f"@{shown} is larger than {MAX_BYTES // 1024} KiB; nothing was sent")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InvalidInputError(f"@{shown} is not UTF-8 text; nothing was sent") from exc
    if "\0" in text:
        raise InvalidInputError(f"@{shown} is not a text file; nothing was sent")
    return text
