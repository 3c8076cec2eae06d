"""The JetStream layer: event store, consumers, tails, timers, requests. The only package that knows nats."""

import sys

# nats-py imports aiohttp, when installed, for WebSocket transport: 20 MB in every process that never uses it.
if "aiohttp" not in sys.modules:
    sys.modules["aiohttp"] = None  # type: ignore[assignment]
    import nats.aio.client  # noqa: F401  # pyright: ignore[reportUnusedImport]

    del sys.modules["aiohttp"]
