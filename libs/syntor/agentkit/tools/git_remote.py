"""What git gets to reach one remote: its address, and the credential for this address alone.

The user's credential helpers and keys are asked outside of the sandbox, away from any repository. Inside, git finds one
user name and password for one host, or the keys ssh would use for one host; it never prompts.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.git_command import Access, read_settings
from syntor.agentkit.tools.processes import capture

TIMEOUT_S = 600.0
_ASK_TIMEOUT_S = 20.0
_SCP_LIKE = re.compile(r"(?:[^@/\s]+@)?(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*):(?!/)")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" '
    '"$SYNTOR_GIT_USERNAME" "$SYNTOR_GIT_PASSWORD"; }; f'
)


async def access_to(url: str) -> Access:
    """Return what git needs for a remote.

    Args:
        url: where git will connect to, all settings applied.

    Raises:
        ToolError: it is no address git may be used with.
    """
    if any(ord(sign) < 33 for sign in url) or url.startswith("-"):
        raise ToolError(f"url {url!r}: blanks, control characters and a leading '-' are not allowed")
    scheme = urlsplit(url).scheme
    if scheme in ("https", "http"):
        return await _with_password(url)
    if scheme in ("ssh", "git+ssh"):
        return await _with_keys(urlsplit(url).hostname or "")
    if scheme == "git":
        return Access(protocols="git", network=True, timeout_s=TIMEOUT_S)
    if match := _SCP_LIKE.match(url):
        return await _with_keys(match["host"])
    if scheme in ("", "file"):
        return Access(protocols="file", timeout_s=TIMEOUT_S)
    raise ToolError(f"url {url!r}: expected https://, ssh:// or a path")


async def _with_password(url: str) -> Access:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    wanted = f"protocol={parts.scheme}\nhost={host}\npath={parts.path.lstrip('/')}\n"
    if user := parts.username:
        wanted += f"username={user}\n"
    found = {} if parts.password else await _fill(wanted + "\n")
    settings: list[tuple[str, str]] = []
    environment: dict[str, str] = {}
    if "password" in found:
        settings = [(f"credential.{parts.scheme}://{host}.helper", _HELPER)]
        environment = {"SYNTOR_GIT_USERNAME": found.get("username", ""), "SYNTOR_GIT_PASSWORD": found["password"]}
    return Access(parts.scheme, True, settings, environment, timeout_s=TIMEOUT_S)


async def _fill(wanted: str) -> dict[str, str]:
    """Return what the user's credential helpers know; empty: nothing."""
    kept = ("PATH", "HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "USER", "LANG")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    environ |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "false", "GCM_INTERACTIVE": "never", "GIT_DIR": os.devnull}
    process = await asyncio.create_subprocess_exec(
        "git", "credential", "fill",
        cwd="/", env=environ, start_new_session=True,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_ASK_TIMEOUT_S):
            output, _ = await process.communicate(wanted.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        return {}
    pairs = (line.partition("=") for line in output.decode("utf-8", "replace").splitlines())
    return {name: value for name, _, value in pairs} if process.returncode == 0 else {}


async def _with_keys(host: str) -> Access:
    if not _HOST.match(host):
        raise ToolError(f"host {host!r} is not a name ssh may be given")
    files = [Path.home() / ".ssh" / "config", *await _ssh_files(host)]
    settings = {setting.key: setting.value for setting in await read_settings({"GIT_DIR": os.devnull}, Path("/"))}
    ssh = settings.get("core.sshcommand", "ssh")
    environment = {"GIT_SSH_COMMAND": f"{ssh} -o BatchMode=yes", "GIT_SSH_VARIANT": "ssh"}
    if agent := os.environ.get("SSH_AUTH_SOCK"):
        environment["SSH_AUTH_SOCK"] = agent
        files.append(Path(agent))
    return Access("ssh", True, (), environment, [path for path in files if path.exists()], TIMEOUT_S)


async def _ssh_files(host: str) -> list[Path]:
    """Return the key and host files ssh would use for a host."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "USER") if name in os.environ}
    try:
        found = await capture(
            ["ssh", "-G", "--", host], timeout_s=_ASK_TIMEOUT_S, cwd=Path("/"), env=kept, max_output_bytes=100_000
        )
    except OSError as exc:
        raise ToolError(f"ssh could not be run: {exc}") from exc
    return _files_named(found.output.decode("utf-8", "replace"))


def _files_named(listed: str) -> list[Path]:
    """Return the files in the listing of `ssh -G`, and the public keys beside them."""
    files: list[Path] = []
    for line in listed.splitlines():
        name, _, value = line.partition(" ")
        if name in ("identityfile", "certificatefile", "userknownhostsfile"):
            files += [Path(each).expanduser() for each in value.split()]
    return [*files, *(path.with_name(path.name + ".pub") for path in files)]
