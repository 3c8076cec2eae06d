"""Options of a supervisor, passed as one JSON argument, so that it loads no option parser."""

from __future__ import annotations

import msgspec

from syntor.stack.port import HTTP_PORT, LOOPBACK, NATS_PORT


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Options of one stack."""

    home: str
    """Absolute path of the home folder."""
    version: str = ""
    """Shown in the banner."""
    durability: str = "durable"
    """durable or fast."""
    model: str = ""
    """Model of the coordination agent, for the banner."""
    overrides: dict[str, str] = {}
    """Environment variables given on the command line; they win over the configuration file."""
    http_host: str = LOOPBACK
    http_port: int = HTTP_PORT
    """First choice; the next free one is taken."""
    nats_port: int = NATS_PORT
    """First choice; the next free one is taken."""
    nats_url: str = ""
    """An external NATS server; empty: one is started."""
    database_url: str = ""
    """Database of the read models; empty: SQLite in the home folder."""
    health_port: int = 0
    """First choice for health addresses of services; 0: after the HTTP port."""
    services: list[str] = []
    """Names of the services to run; empty: all."""
    detached: bool = False
    """No terminal: the starting process prints the banner."""
    ready_fd: int = -1
    """Descriptor to write the outcome of the start to, once; -1: none."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of a start, written to `ready_fd`."""

    ready: bool
    code: int = 0
    """Exit code when not ready."""
    message: str = ""
