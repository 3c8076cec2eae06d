"""A log for a test: a real server with all streams and consumers, and a store on it."""

from __future__ import annotations

import msgspec

from syntor.jetstream.connection import Connection
from syntor.jetstream.store import JetStreamStore
from syntor.testing.nats_server import NatsServer


class Log(msgspec.Struct):
    """A server with all streams, and a store on it."""

    server: NatsServer
    """The server's process."""
    connection: Connection
    """A connection with the right to everything."""
    store: JetStreamStore
    """Appends and loads over that connection."""
