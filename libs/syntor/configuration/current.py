"""The configuration of a service: read once, and again when the user's file changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from syntor.configuration.folder_rules import allowed_in
from syntor.configuration.layers import Configuration, load_configuration


class ConfigurationFile:
    """Caches the configuration of one home folder; a lookup costs one `stat`."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self._home = home
        self._environ = dict(environ)
        self._loaded: tuple[int, int, int] | None = None
        self._current: Configuration | None = None

    def current(self) -> Configuration:
        """Return the configuration as the file is now.

        Raises:
            ConfigurationError: the file is wrong; raised again at each call until it is corrected.
        """
        stamp = self._stamp()
        if self._current is None or stamp != self._loaded:
            self._current = None
            self._current = load_configuration(self._home, None, self._environ, {})
            self._loaded = stamp
        return self._current

    def allowed_in(self, workspace: Path | None) -> list[str]:
        """Return the rules the user always allowed in a folder.

        Raises:
            ConfigurationError: the file with them cannot be read.
        """
        return [rule for rule, _ in allowed_in(self._home, workspace)]

    def _stamp(self) -> tuple[int, int, int]:
        """Return what changes when the file does; zeros when there is none."""
        try:
            status = (self._home / "config.yaml").stat()
        except OSError:
            return (0, 0, 0)
        return (status.st_mtime_ns, status.st_size, status.st_ino)
