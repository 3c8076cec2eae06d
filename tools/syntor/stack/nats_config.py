"""The nats-server configuration of a local stack: loopback only, JetStream in the home folder."""

from __future__ import annotations

import json
from pathlib import Path

from syntor.contracts.errors import ConfigurationError

SYNC_INTERVALS = {"durable": "always", "fast": "100ms"}
MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
_MEMORY_LIMIT_MIB = 512  # beside what the server's index of subjects may grow to


def memory_limit(store: Path) -> str:
    """Return GOMEMLIMIT for the server: above it, it frees the blocks of messages that it has only cached.

    Without a limit each block that a read touched (8 MiB) stays until the next collection, and with a log of some
    hundred MiB that is most of the log. The index of subjects cannot be freed: about 420 bytes a message of 1 KiB,
    so the limit grows with the store.
    """
    size = sum(file.stat().st_size for file in store.glob("jetstream/*/streams/*/msgs/*.blk")) if store.is_dir() else 0
    return f"{_MEMORY_LIMIT_MIB + size // 2**20}MiB"


def render(*, name: str, host: str, port: int, monitor_port: int, store: Path, durability: str, users: str) -> str:
    """Return the text of nats.conf.

    Args:
        durability: `durable` (an acknowledged event is on disk) or `fast` (synced every 100 ms: a power loss may
            lose the last 100 ms, a crash of the process nothing).
        users: the authorization section.

    Raises:
        ConfigurationError: `durability` is neither.
    """
    if durability not in SYNC_INTERVALS:
        raise ConfigurationError(f"durability {durability!r}: expected durable or fast")
    return "\n".join(
        [
            f"server_name: {json.dumps(name)}",
            f"host: {json.dumps(host)}",
            f"port: {port}",
            f'http: "{host}:{monitor_port}"',
            f"max_payload: {MAX_PAYLOAD_BYTES}",
            'lame_duck_duration: "30s"',
            "jetstream {",
            f"  store_dir: {json.dumps(str(store))}",
            f"  sync_interval: {json.dumps(SYNC_INTERVALS[durability])}",
            "}",
            users,
        ]
    )
