"""Credentials of a connection to NATS: an nkey, and certificates for TLS."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from syntor.contracts.access import SEED_SUFFIX, inbox_prefix
from syntor.contracts.errors import ConfigurationError


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials of one connection; all empty: none, for a server without authentication."""

    nkey: str = ""
    """File with the seed of an nkey; its name without `.nk` is the user's."""
    ca: str = ""
    """File with the certificate authorities trusted for the server; empty: those of the system."""
    cert: str = ""
    """File with the client certificate, for servers that require one."""
    key: str = ""
    """File with the private key of the client certificate."""

    @property
    def inbox_prefix(self) -> str:
        """First token of inbox subjects; a user with a key is not permitted to subscribe to others."""
        return inbox_prefix(Path(self.nkey).name.removesuffix(SEED_SUFFIX)) if self.nkey else "_INBOX"

    def options(self, url: str) -> dict[str, Any]:
        """Return the options for nats-py's `connect`.

        Raises:
            ConfigurationError: a file cannot be used; the text names it.
        """
        options: dict[str, Any] = {}
        if self.nkey:
            try:
                seed = Path(self.nkey).read_text("ascii").strip()
            except (OSError, UnicodeDecodeError) as exc:
                raise ConfigurationError(f"NATS key {self.nkey}: {getattr(exc, 'strerror', '') or 'no key'}") from exc
            if not seed.startswith("SU"):
                raise ConfigurationError(f"NATS key {self.nkey}: expected the seed of a user, beginning with SU")
            options["nkeys_seed_str"] = seed
        if self.ca or self.cert or url.startswith(("tls://", "wss://")):
            options["tls"] = self._tls()
        return options

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.cert:
                context.load_cert_chain(self.cert, self.key or None)
        except OSError as exc:  # also ssl.SSLError, a subclass
            files = ", ".join(file for file in (self.ca, self.cert, self.key) if file)
            raise ConfigurationError(f"TLS to NATS: {files}: {exc.strerror or exc}") from exc
        return context


def public_hosts(url: str) -> list[str]:
    """Return the hosts of a list of servers that are reachable from other machines, as far as their names tell."""
    hosts = [urlsplit(each.strip()).hostname or "" for each in url.split(",")]
    return [host for host in hosts if not _is_loopback(host)]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "")


NO_CREDENTIALS = Access()
"""Connects without credentials."""
