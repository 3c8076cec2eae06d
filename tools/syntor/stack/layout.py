"""Paths of a home folder; no other module joins them."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from syntor.contracts.errors import ConfigurationError
from syntor.runtime.private_files import make_private_folder, shared_paths, tighten
from syntor.runtime.set_aside import found_aside


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

    @property
    def own_files(self) -> list[Path]:
        """The home folder's parts that Syntor writes or that may hold secrets; other files in it are the user's."""
        names = ("config.yaml", "config.rejected.yaml", "mcp.json", "tokens.json", "trusted.yaml", "history")
        folders = (self.data, self.logs, self.run, self.nats_keys, self.home / "models")
        return [path for path in (*(self.home / name for name in names), *folders) if path.exists()]

    @property
    def is_shared_folder(self) -> bool:
        """Return whether other accounts enter the home folder for other reasons than this stack."""
        return self.home in (Path.home(), Path(self.home.anchor)) or bool(self.home.stat().st_mode & stat.S_ISVTX)

    def open_to_others(self) -> list[Path]:
        """Return the home folder's own files and folders that other accounts may use."""
        home = [] if self.is_shared_folder else [self.home]
        return shared_paths([*self.own_files], alone=home)

    def tighten(self) -> str:
        """Take the rights of other accounts from the home folder and Syntor's files in it.

        Returns:
            What was changed, for the user; empty: nothing had to be.
        """
        changed = tighten(self.open_to_others())
        if not changed:
            return ""
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        return f"other accounts could read {changed[0]}{more}; now only you can"

    def set_aside(self) -> list[Path]:
        """Return damaged files that were set aside, oldest first."""
        return [path for folder in (self.home, self.data, self.run, self.logs) for path in found_aside(folder)]

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
                make_private_folder(folder)
        except OSError as exc:
            raise ConfigurationError(
                f"home folder {self.home} cannot be used: {exc.strerror or exc}; "
                "set SYNTOR_HOME to a folder you can write"
            ) from exc


def home_folder(environ: Mapping[str, str]) -> Path:
    """Return the absolute home folder: `SYNTOR_HOME`, else `~/.syntor`."""
    return Path(environ.get("SYNTOR_HOME") or "~/.syntor").expanduser().absolute()
