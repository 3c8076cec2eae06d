"""Hides what files with secrets hold from texts that models read: parts of diffs, lines of searches, values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

from syntor.agentkit.domain.secret_files import is_secret

MARK = "[hidden: it may be a secret]"
_HEADER = re.compile(r"^diff --(?:git a/.*? b/(?P<new>.*)|(?:cc|combined) (?P<merged>.*))$", re.MULTILINE)
_FOUND = re.compile(r"^(?P<path>[^\s:][^:\n]{0,400}?)[:-]\d*[:-]?", re.MULTILINE)
_NAMED = re.compile(
    r"(?i)[\w.-]*(?:key|token|secret|passw|pwd|credential|auth|private|dsn)[\w.-]*[\"']?\s*[:=]\s*[\"']?([^\s\"',;]{6,})"
)
_RANDOM = re.compile(r"[:=]\s*[\"']?((?=[^\s\"']*[0-9])(?=[^\s\"']*[A-Za-z])[A-Za-z0-9+/=_.~-]{20,})")
_ENCODED = re.compile(r"^[A-Za-z0-9+/=]{40,}$", re.MULTILINE)
_PLAIN = re.compile(r"(?i)(true|false|none|null|changeme|example|localhost|development|production|[a-z_.-]{6,10})\Z")


def secret_values(text: str) -> set[str]:
    """Return the values in a file that may hold secrets which must not be shown: of keys, tokens, passwords."""
    found = {match[1] for match in (*_NAMED.finditer(text), *_RANDOM.finditer(text))}
    return {value for value in found if not _PLAIN.match(value)} | set(_ENCODED.findall(text))


def without_secrets(text: str, values: Iterable[str]) -> str:
    """Return a tool's result without the changes and lines of files that may hold secrets, and without values."""
    text = _without_diffs(text)
    text = "\n".join(_without_line(line) for line in text.split("\n"))
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, MARK)
    return text


def _without_diffs(text: str) -> str:
    headers = list(_HEADER.finditer(text))
    if not headers:
        return text
    kept = [text[: headers[0].start()]]
    ends = [*(each.start() for each in headers[1:]), len(text)]
    for header, end in zip(headers, ends, strict=True):
        path = (header["new"] or header["merged"]).strip('"')
        section = text[header.start() : end]
        kept.append(f"{header[0]}\n{MARK}\n" if is_secret(PurePath(path)) else section)
    return "".join(kept)


def _without_line(line: str) -> str:
    """Return a line such as `path:12: text` without its text, where the path may hold secrets."""
    found = _FOUND.match(line)
    if found is None or not is_secret(PurePath(found["path"])) or len(line) == found.end():
        return line
    return f"{found[0]} {MARK}"
