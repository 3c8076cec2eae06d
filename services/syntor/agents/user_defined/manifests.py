"""Finds manifests of user-defined agents: `agents/*.yaml` of the home folder and of trusted projects."""

from __future__ import annotations

from pathlib import Path

import msgspec

from syntor.agentkit.manifest import Manifest, read_manifest
from syntor.configuration.trust import manifest_files
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.topology import RESERVED_AGENT_NAMES

Stamp = tuple[int, int]
"""Modification time in nanoseconds and size of a file; a different stamp means it may have changed."""


class Found(msgspec.Struct):
    """Result of a scan."""

    manifests: dict[str, Manifest] = {}
    """By agent id."""
    problems: dict[Path, str] = {}
    """Why files are skipped, by file."""


class Manifests:
    """Reads the manifests; a file is read again only after it changed."""

    def __init__(self, home: Path, known_tools: frozenset[str]) -> None:
        self._home = home
        self._known_tools = known_tools
        self._read: dict[Path, tuple[Stamp, Manifest | str]] = {}

    def scan(self) -> Found:
        """Return the current manifests; a file of the home folder wins over one of a project."""
        found = Found()
        taken: dict[str, Path] = {}
        for path in manifest_files(self._home):
            manifest = self._at(path)
            if isinstance(manifest, str):
                found.problems[path] = manifest
                continue
            names = [manifest.id, *manifest.aliases]
            if reserved := [name for name in names if name in RESERVED_AGENT_NAMES]:
                found.problems[path] = (
                    f"{path}: {reserved[0]!r} belongs to a built-in agent; choose another id or alias"
                )
            elif other := next((taken[name] for name in names if name in taken), None):
                found.problems[path] = f"{path}: id or alias of {manifest.id!r} is taken by {other}; choose another"
            else:
                found.manifests[manifest.id] = manifest
                taken |= dict.fromkeys(names, path)
        return found

    def _at(self, path: Path) -> Manifest | str:
        try:
            status = path.stat()
        except OSError as exc:
            return f"{path}: {exc.strerror}"
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._read.get(path)
        if known is None or known[0] != stamp:
            known = self._read[path] = (stamp, self._fresh(path))
        return known[1]

    def _fresh(self, path: Path) -> Manifest | str:
        try:
            return read_manifest(path, self._known_tools)
        except ConfigurationError as exc:
            return str(exc)
