"""Three real nats-servers as one cluster, on free ports of this machine."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any

from syntor.jetstream.admin import api
from syntor.jetstream.connection import Connection
from syntor.testing.nats_server import NatsServer, free_port

NODES = ("n1", "n2", "n3")
READY_TIMEOUT_S = 30.0  # a leader is elected after 1 to 2 s; a loaded machine takes longer


class NatsCluster:
    """One cluster; `kill` and `start` a node by its name."""

    def __init__(self, folder: Path, *, sync: str | None = None, extra: str = "") -> None:
        routes = {name: free_port() for name in NODES}
        known = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes.values())
        self.nodes = {
            name: NatsServer(
                folder / name,
                sync=sync,
                extra=f'server_name: {name}\ncluster {{ name: syntor, listen: "127.0.0.1:{routes[name]}", '
                f"routes: [{known}] }}\n{extra}",
            )
            for name in NODES
        }

    @property
    def url(self) -> str:
        """All three servers."""
        return ",".join(node.url for node in self.nodes.values())

    def kill(self, name: str) -> None:
        """End a node with SIGKILL."""
        self.nodes[name].kill()

    def start(self, name: str) -> None:
        """Start a node that was killed, on its own store."""
        self.nodes[name].start()

    def __enter__(self) -> NatsCluster:
        """Start the cluster."""
        for node in self.nodes.values():
            node.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the cluster."""
        for node in self.nodes.values():
            node.kill()


async def cluster_of(connection: Connection, stream: str) -> dict[str, Any]:
    """Return a stream's cluster as the server tells it: `leader`, and `replicas` with `current` and `offline`."""
    cluster: dict[str, Any] = (await api(connection, f"STREAM.INFO.{stream}"))["cluster"]
    return cluster


def deadline(seconds: float = READY_TIMEOUT_S) -> float:
    """Return the monotonic time in so many seconds."""
    return time.monotonic() + seconds
