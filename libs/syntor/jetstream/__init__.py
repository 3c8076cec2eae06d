"""The JetStream layer: event store, consumers, tails, timers, requests. The only package that imports nats."""

import importlib
import sys
from types import ModuleType
from typing import Any

# Modules that nats-py imports eagerly and Syntor does not use. Two are optional: aiohttp, for WebSocket, takes 20 MB,
# importlib.metadata, for its own version, 1.7 MB. Its JetStream client, 0.9 MB, is imported on the first access to it.
_JETSTREAM_CLIENT = "nats.js"
_WITHHELD: dict[str, Any] = {
    "aiohttp": None,
    "importlib.metadata": None,
    _JETSTREAM_CLIENT: ModuleType(_JETSTREAM_CLIENT),
}


def _import_lean() -> None:
    withheld = {name: module for name, module in _WITHHELD.items() if name not in sys.modules}
    sys.modules.update(withheld)
    try:
        import nats
    finally:
        for name in withheld:
            del sys.modules[name]
    if _JETSTREAM_CLIENT in withheld:
        nats.__dict__["__getattr__"] = _attribute_of_nats


def _attribute_of_nats(name: str) -> ModuleType:
    if name == "js":
        return importlib.import_module(_JETSTREAM_CLIENT)
    raise AttributeError(f"module 'nats' has no attribute {name!r}")


_import_lean()
