"""Ends a campaign by a signal: it takes its stack down and reports on what it has seen."""

from __future__ import annotations

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class EndedError(Exception):
    """The campaign was told to end; the text names the signal."""


def end_by_signal() -> None:
    """Let the first SIGTERM, SIGINT or SIGHUP raise `EndedError` in the main thread; later ones change nothing."""
    for number in SIGNALS:
        signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> None:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise EndedError(signal.Signals(number).name)
