"""Paths of a home folder; no other module joins them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from syntor.contracts.errors import ConfigurationError


class Layout(msgspec.Struct, frozen=True):
    """Paths below one home folder."""

    home: Path

    @property
    def config(self) -> Path:
        """The user's configuration."""
        return self.home / "config.yaml"

    @property
    def data(self) -> Path:
        """Persistent data: the log and the read models."""
        return self.home / "data"

    @property
    def nats_store(self) -> Path:
        """JetStream's files: the log itself."""
        return self.data / "nats"

    @property
    def database(self) -> Path:
        """Read models; can be rebuilt from the log."""
        return self.data / "readmodel.db"

    @property
    def logs(self) -> Path:
        """One log file per service."""
        return self.home / "logs"

    @property
    def run(self) -> Path:
        """Runtime files of the running stack."""
        return self.home / "run"

    @property
    def state(self) -> Path:
        """State file of the supervisor; holds its token, so only the owner may read it."""
        return self.run / "stack.json"

    @property
    def lock(self) -> Path:
        """File lock the running supervisor holds."""
        return self.run / "stack.lock"

    @property
    def nats_config(self) -> Path:
        """Configuration written for nats-server at each start."""
        return self.run / "nats.conf"

    @property
    def nats_keys(self) -> Path:
        """Keys of the NATS users; only the owner may read them."""
        return self.home / "nats-keys"

    def log_of(self, service: str) -> Path:
        """Return the log file of a service."""
        return self.logs / f"{service}.log"

    def create(self) -> None:
        """Create the folders the stack needs.

        Raises:
            ConfigurationError: the home folder cannot be created or written; names it.
        """
        try:
            for folder in (self.home, self.data, self.nats_store, self.logs, self.run, self.home / "models"):
                folder.mkdir(parents=True, exist_ok=True)
            self.run.chmod(0o700)
        except OSError as exc:
            raise ConfigurationError(
                f"home folder {self.home} cannot be used: {exc.strerror or exc}; "
                "set SYNTOR_HOME to a folder you can write"
            ) from exc


def home_folder(environ: Mapping[str, str]) -> Path:
    """Return the absolute home folder: `SYNTOR_HOME`, else `~/.syntor`."""
    return Path(environ.get("SYNTOR_HOME") or "~/.syntor").expanduser().absolute()
