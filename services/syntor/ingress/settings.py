"""Settings of the ingress."""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import environ as process_environ
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from syntor.contracts.errors import ConfigurationError
from syntor.contracts.run.v1 import Ceiling
from syntor.contracts.vocabulary import PermissionMode
from syntor.ingress.http.access import WRONG_TOKENS
from syntor.ingress.http.origin import is_loopback
from syntor.ingress.http.protocol import MAX_HEAD_BYTES
from syntor.runtime.settings import ServiceSettings, read_settings
from syntor.runtime.tokens import read_tokens


class IngressSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of the ingress, besides those of all services."""

    http_host: str = "127.0.0.1"
    """Address of the HTTP server; on any but loopback every request needs a token, reading too."""
    http_port: int = 8420
    """Port of the HTTP server; 0: a free one, named in the log."""
    local_reads: Literal["open", "key"] = "open"
    """open: on loopback processes of this account read without the key; key: reading needs it too. Where the kernel
    does not tell whose a connection is (only Linux does), open is open to all accounts of the machine."""
    max_mode: PermissionMode = "auto"
    """Highest mode of any run: plan, ask, auto-edit or auto; a token may have a lower one."""
    workspaces: str = ""
    """Folders the workspaces of runs must be in, separated by `:`; empty: any."""
    http_rate: float = 0.0
    """Requests a second of a token, or of an address without one, in bursts of ten times that; 0: no limit."""
    http_wrong_tokens: Annotated[int, Meta(ge=0, le=1_000_000)] = WRONG_TOKENS
    """Requests a minute, of one address, with a wrong token or without the one they need; more get 429. 0: no limit."""
    http_head_bytes: Annotated[int, Meta(ge=8192, le=1_048_576)] = MAX_HEAD_BYTES
    """Bytes the request line and headers of a request may have together; more get 431."""
    http_connections: Annotated[int, Meta(ge=0, le=1_000_000)] = 4096
    """Connections one address may have open; more get 503. 0: as many as the process may have open files."""
    http_unfinished: Annotated[int, Meta(ge=0, le=1_000_000)] = 128
    """Requests of one address that may be incomplete; with more, the oldest one gets 408. 0: no limit."""
    max_open_runs: int = 10_000
    """Runs that may be open before new ones are refused with 429; 0: no limit."""
    max_requests: int = 2000
    """Requests and streams served concurrently before more are refused with 503; 0: no limit."""
    shed_above: Annotated[float, Meta(ge=0, le=1)] = 0.8
    """Part of `max_requests` above which new runs are refused with 503, with a growing probability; 1: none."""
    tls_cert: str = ""
    """File with the certificate chain; with it the server speaks HTTPS only."""
    tls_key: str = ""
    """File with the certificate's key."""
    agent_timeout_s: float = 300.0
    """Seconds a task may take, where the request has no timeout."""

    @property
    def ceiling(self) -> Ceiling:
        """The most any run may do."""
        folders = [os.path.realpath(Path(each).expanduser()) for each in self.workspaces.split(os.pathsep) if each]
        return Ceiling(max_mode=self.max_mode, workspaces=folders)


def read_ingress_settings(environ: Mapping[str, str] = process_environ) -> IngressSettings:
    """Read the settings.

    Raises:
        ConfigurationError: a value is invalid, or the address is not loopback and there is no token.
    """
    settings = read_settings(IngressSettings, environ)
    if settings.http_rate < 0:
        raise ConfigurationError(f"SYNTOR_HTTP_RATE={settings.http_rate:g}: expected 0 or more")
    for name, value in (("MAX_OPEN_RUNS", settings.max_open_runs), ("MAX_REQUESTS", settings.max_requests)):
        if value < 0:
            raise ConfigurationError(f"SYNTOR_{name}={value}: expected 0 or more")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise ConfigurationError("SYNTOR_TLS_CERT and SYNTOR_TLS_KEY: set both, or none")
    if not is_loopback(settings.http_host) and not read_tokens(Path(settings.home)):
        raise ConfigurationError(
            f"SYNTOR_HTTP_HOST={settings.http_host!r} can be reached from other machines, and there is no token yet: "
            "syntor tokens create NAME --scope run --scope read, or listen on 127.0.0.1"
        )
    return settings
