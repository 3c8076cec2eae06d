"""Who a process is on NATS, and whom it trusts: an nkey, and for TLS certificates."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import msgspec

from syntor.contracts.access import SEED_SUFFIX, inbox_prefix
from syntor.contracts.errors import ConfigurationError


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials of one connection; empty: none, as for a server that asks for nothing."""

    nkey: str = ""
    """File with the seed of an nkey; its name without `.nk` is the user's."""
    ca: str = ""
    """File with the authorities the server's certificate may be of; empty: those of the system."""
    cert: str = ""
    """File with this client's own certificate, for servers that want one."""
    key: str = ""
    """File with its private key."""

    @property
    def inbox_prefix(self) -> str:
        """First token of inboxes: a user with a key may listen on no others."""
        return inbox_prefix(Path(self.nkey).name.removesuffix(SEED_SUFFIX)) if self.nkey else "_INBOX"

    def options(self, url: str) -> dict[str, Any]:
        """Return what nats-py's `connect` is given.

        Raises:
            ConfigurationError: a file cannot be used; names it.
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
        except OSError as exc:  # of which ssl's own are a kind
            files = ", ".join(file for file in (self.ca, self.cert, self.key) if file)
            raise ConfigurationError(f"TLS to NATS: {files}: {exc.strerror or exc}") from exc
        return context


ANYBODY = Access()
"""No credentials."""
