"""Runs programs isolated: in bubblewrap where the kernel allows it, else with resource limits only.

In bubblewrap a program sees the system read-only, the workspace writable, an empty home folder, its own processes, and
the network only where the configuration allows it. Which of the two is in force is probed by running a program, and
recorded in the task's `agent_invoke_started`. In both, a program has its own session that is killed as a whole, bounded
output, and an environment without credentials.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from syntor.agentkit.tools.bubblewrap import probe, wrapped
from syntor.agentkit.tools.git_repository import protected_paths
from syntor.agentkit.tools.processes import Captured, Finished, Running, capture, run_bounded, start

MAX_OUTPUT_BYTES = 200_000  # kept of a program's output; the rest is read and dropped
_KEPT_VARIABLES = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TERM",
    "VIRTUAL_ENV",
    "GOPATH",
    "JAVA_HOME",
    "CARGO_HOME",
)


class Sandbox:
    """Runs programs for one workspace."""

    def __init__(self, workspace: Path, *, network: bool, bubblewrap: Sequence[str], note: str) -> None:
        self.workspace = workspace
        self.network = network
        self.note = note
        """Why there is no bubblewrap; empty where there is."""
        self._bubblewrap = bubblewrap

    @property
    def kind(self) -> str:
        """`bubblewrap`, or `limits`."""
        return "bubblewrap" if self._bubblewrap else "limits"

    @property
    def description(self) -> str:
        """One line for people."""
        return self.kind + (f": {self.note}" if self.note else "")

    async def run(
        self,
        argv: list[str],
        *,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        network: bool | None = None,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        git_settings_writable: bool = False,
    ) -> Finished:
        """Run a program, and kill it and everything it started when its time is up.

        Args:
            env: variables in addition to the few passed through.
            network: None: as the sandbox was opened.
            readable: files and folders outside the workspace it may read as well.
            writable: folders outside the workspace it may change as well.
            git_settings_writable: whether it may change which programs git runs: its settings and hooks.

        Raises:
            OSError: it cannot be started.
        """
        protected = [] if git_settings_writable else await asyncio.to_thread(protected_paths, self.workspace)
        network = self.network if network is None else network
        return await run_bounded(
            self._wrapped(argv, network, readable, writable, protected),
            timeout_s=timeout_s,
            cwd=self.workspace,
            env=_environment(self.workspace) | dict(env or {}),
            max_output_bytes=MAX_OUTPUT_BYTES,
        )

    async def start(self, argv: list[str], *, max_output_bytes: int) -> Running:
        """Start a program that runs until it ends or is killed.

        Raises:
            OSError: it cannot be started.
        """
        protected = await asyncio.to_thread(protected_paths, self.workspace)
        return await start(
            self._wrapped(argv, self.network, (), (), protected),
            cwd=self.workspace,
            env=_environment(self.workspace),
            max_output_bytes=max_output_bytes,
        )

    async def capture(
        self, argv: list[str], *, timeout_s: float, max_output_bytes: int, readable: Sequence[Path] = ()
    ) -> Captured:
        """Run a program of Syntor's own without network; its two streams stay apart.

        Raises:
            OSError: it cannot be started.
        """
        return await capture(
            self._wrapped(argv, False, readable, (), ()),
            timeout_s=timeout_s,
            cwd=self.workspace,
            env=_environment(self.workspace),
            max_output_bytes=max_output_bytes,
        )

    def _wrapped(
        self,
        argv: list[str],
        network: bool,
        readable: Sequence[Path],
        writable: Sequence[Path],
        protected: Sequence[Path],
    ) -> list[str]:
        if not self._bubblewrap:
            return argv
        return wrapped(
            self._bubblewrap,
            argv,
            workspace=self.workspace,
            network=network,
            readable=readable,
            writable=writable,
            protected=protected,
        )


async def open_sandbox(workspace: Path, *, network: bool) -> Sandbox:
    """Return the sandbox of a workspace; its kind is probed once per process.

    Args:
        workspace: folder programs may write to; links are followed.
        network: whether they may reach the network.
    """
    bubblewrap, note = await probe()
    return Sandbox(await asyncio.to_thread(workspace.resolve), network=network, bubblewrap=bubblewrap, note=note)


def limits_only(workspace: Path, note: str) -> Sandbox:
    """Return a sandbox without bubblewrap; `note` says why."""
    return Sandbox(workspace.resolve(), network=True, bubblewrap=(), note=note)


def _environment(workspace: Path) -> dict[str, str]:
    environ = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    environ.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    return environ | {"HOME": str(workspace), "TMPDIR": "/tmp", "NO_COLOR": "1", "PAGER": "cat", "GIT_PAGER": "cat"}
