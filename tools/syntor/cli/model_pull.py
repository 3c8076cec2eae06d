"""Fetches models and shows how far it is, on standard error."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec

from syntor.cli.output import ExitCode, fail
from syntor.contracts.decoding import UNDECODABLE

_SHOW_EVERY_S = 0.2
_TIMEOUT_S = 300.0  # between two lines of Ollama; unpacking a layer is silent for a while


class _Line(msgspec.Struct):
    """A line of Ollama's `/api/pull`."""

    status: str = ""
    error: str = ""
    total: int = 0
    completed: int = 0


class Progress:
    """One line that replaces itself on a terminal; elsewhere a line every ten percent."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown_at = 0.0
        self._tenth = -1
        self._terminal = sys.stderr.isatty()

    def show(self, message: str, done_bytes: int, total_bytes: int) -> None:
        """Show how far it is; not more often than five times a second."""
        fraction = done_bytes / total_bytes if total_bytes else 0.0
        text = f"{self._what}  {message}"
        if total_bytes:
            text += f"  {fraction:4.0%}  {done_bytes / 1e6:.0f} of {total_bytes / 1e6:.0f} MB"
        if self._terminal:
            if time.monotonic() - self._shown_at >= _SHOW_EVERY_S or fraction >= 1:
                self._shown_at = time.monotonic()
                sys.stderr.write(f"\r\x1b[K{text}")
                sys.stderr.flush()
        elif int(fraction * 10) != self._tenth:
            self._tenth = int(fraction * 10)
            sys.stderr.write(f"{text}\n")

    def end(self) -> None:
        """Leave the line."""
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def embedded(home: Path, name: str) -> None:
    """Fetch the weights of an embedded model.

    Raises:
        NotReachableError: no source has it.
    """
    from syntor.models.weights import fetch

    progress = Progress(name)
    try:
        fetch(home, name, lambda message, done_bytes, total_bytes: progress.show(message, done_bytes, total_bytes))
    finally:
        progress.end()


def ollama(host: str, name: str) -> None:
    """Let Ollama fetch a model."""
    import http.client
    from urllib.parse import urlsplit

    address = urlsplit(host)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.netloc, timeout=_TIMEOUT_S)
    progress = Progress(name)
    try:
        body = msgspec.json.encode({"model": name, "stream": True})
        connection.request("POST", f"{address.path.rstrip('/')}/api/pull", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        for raw in response:
            line = msgspec.json.decode(raw, type=_Line)
            if line.error or response.status >= 400:
                fail(f"Ollama cannot fetch {name}: {line.error or response.status}", ExitCode.RUN_FAILED)
            progress.show(line.status, line.completed, line.total)
    except (OSError, http.client.HTTPException, *UNDECODABLE) as exc:
        fail(
            f"Ollama at {host} became unreachable: {exc}",
            ExitCode.NOT_REACHABLE,
            "a repeated pull resumes the download",
        )
    finally:
        progress.end()
        connection.close()
