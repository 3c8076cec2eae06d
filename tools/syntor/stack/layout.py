"""Paths of a home folder; no other module joins them."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from syntor.contracts.errors import ConfigurationError
from syntor.runtime.private_files import make_private_folder, shared_paths, tighten
from syntor.runtime.set_aside import found_aside, set_aside


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
    def topology(self) -> Path:
        """Digest of the topology last applied to the log."""
        return self.nats_store / "topology.sha256"

    @property
    def seal(self) -> Path:
        """Digests of the files of a stopped log."""
        return self.nats_store / "seal.json"

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
        """Return damaged files that were set aside, oldest first of each folder."""
        folders = (self.home, self.data, self.nats_store, self.run, self.logs)
        return [path for folder in folders for path in found_aside(folder)]

    def log_of(self, service: str) -> Path:
        """Return the log file of a service."""
        return self.logs / f"{service}.log"

    def create(self) -> list[str]:
        """Create the folders the stack needs; set aside what only the stack writes and is not of its kind.

        Returns:
            What was set aside, for the user.

        Raises:
            ConfigurationError: the home folder cannot be created or written; names it.
        """
        try:
            aside = [f"{path} is not what it was; kept as {set_aside(path)}" for path in self._of_another_kind()]
            for folder in (self.home, self.data, self.nats_store, self.logs, self.run, self.home / "models"):
                make_private_folder(folder)
        except OSError as exc:
            raise ConfigurationError(
                f"home folder {self.home} cannot be used: {exc.strerror or exc}; "
                "set SYNTOR_HOME to a folder you can write"
            ) from exc
        return aside

    def _of_another_kind(self) -> list[Path]:
        """Return files in the place of folders, then folders in the place of files, of what the stack makes anew."""
        folders = [path for path in (self.logs, self.run) if path.exists() and not path.is_dir()]
        files = [self.state, self.lock, self.nats_config, self.topology, self.seal]
        logs = self.logs.glob("*.log") if self.logs.is_dir() else ()
        return folders + [path for path in (*files, *logs) if path.is_dir()]


def home_folder(environ: Mapping[str, str]) -> Path:
    """Return the absolute home folder: `SYNTOR_HOME`, else `~/.syntor`."""
    return Path(environ.get("SYNTOR_HOME") or "~/.syntor").expanduser().absolute()
