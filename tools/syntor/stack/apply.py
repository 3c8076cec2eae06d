"""Creates or reconciles streams and consumers, in its own process so that the supervisor never loads nats.

Run as a program it waits for the server up to 20 s and prints one line per change. Exit codes: 0 done, 4 not reachable.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping

from syntor.contracts.errors import ConfigurationError, InfrastructureError, NotReachableError
from syntor.jetstream.access import Access
from syntor.jetstream.admin import apply_topology
from syntor.jetstream.connection import connect
from syntor.stack.admin_access import admin_access

_WAIT_S = 20.0  # nats-server listens after some 30 ms; recovering a large store takes seconds


async def apply(nats_url: str, access: Access, wait_s: float = 0.0, replicas: int | None = None) -> list[str]:
    """Make the server match the declared topology; return what changed.

    Args:
        wait_s: how long to retry while no server is reachable, or the cluster has too few for the replicas.
        replicas: replicas of each stream, 3 on a cluster of three; None: unchanged, one for a new stream.

    Raises:
        NotReachableError: no server was reachable in that time.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            connection = await connect(nats_url, "syntor/admin-apply", access=access)
            break
        except NotReachableError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)
    try:
        while True:
            try:
                return await apply_topology(connection, replicas=replicas)
            except (InfrastructureError, ConfigurationError):  # a forming cluster has no leader, or too few peers
                if replicas in (None, 1) or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)
    finally:
        await connection.close()


def replicas_wanted(environ: Mapping[str, str]) -> int | None:
    """Return the number of replicas `SYNTOR_NATS_REPLICAS` sets; None when it is not set.

    Raises:
        ConfigurationError: the server does not accept the number.
    """
    text = environ.get("SYNTOR_NATS_REPLICAS", "").strip()
    if not text:
        return None
    if text not in ("1", "3", "5"):
        raise ConfigurationError(f"SYNTOR_NATS_REPLICAS={text!r}: expected 1, 3 or 5, at most the number of servers")
    return int(text)


def main() -> int:
    """Apply the topology to the server `SYNTOR_NATS_URL` names."""
    try:
        nats_url = os.environ.get("SYNTOR_NATS_URL") or "nats://127.0.0.1:4222"
        replicas = replicas_wanted(os.environ)
        changes = asyncio.run(apply(nats_url, admin_access(os.environ), _WAIT_S, replicas))
    except NotReachableError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 4
    except ConfigurationError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 3
    for change in changes:
        sys.stdout.write(f"{change}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
