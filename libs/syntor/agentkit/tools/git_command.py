"""Runs git for the tools: in the sandbox, with the user's own settings, and nothing a repository's settings name."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import msgspec

from syntor.agentkit.domain import git_config
from syntor.agentkit.domain.git_config import Setting
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.git_repository import find_repository
from syntor.agentkit.tools.processes import Captured, capture
from syntor.agentkit.tools.tool import ToolRun, bounded

TIMEOUT_S = 60.0
_SETTINGS_TIMEOUT_S = 10.0
_MAX_SETTINGS_BYTES = 4 * 1024 * 1024
_FIXED = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_EDITOR": "true",
    "GIT_SEQUENCE_EDITOR": "true",
    "GIT_ASKPASS": "false",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_PROXY_COMMAND": "",
    "LC_ALL": "C.UTF-8",
}


class Access(msgspec.Struct, frozen=True):
    """What a call of git may reach besides the repository; by default nothing."""

    protocols: str = "none"
    """Transports, separated by colons."""
    network: bool = False
    settings: Sequence[tuple[str, str]] = ()
    environment: Mapping[str, str] = {}
    readable: Sequence[Path] = ()
    timeout_s: float = TIMEOUT_S


LOCAL = Access()


async def git(run: ToolRun, *arguments: str, access: Access = LOCAL, changes: bool = False) -> str:
    """Run git in the workspace's repository.

    Args:
        changes: whether it may change files of the working tree above the workspace.

    Raises:
        ToolError: there is no repository, or git failed; with its output.
    """
    repository = find_repository(run.workspace)
    inside = {
        "GIT_DIR": str(repository.git_dir),
        "GIT_COMMON_DIR": str(repository.common_dir),
        "GIT_WORK_TREE": str(repository.root),
    }
    settings = await read_settings(inside, repository.root)
    trees = {repository.root, repository.git_dir, repository.common_dir}
    outside = sorted(path for path in trees if not path.is_relative_to(run.sandbox.workspace))
    writable = [path for path in outside if changes or path != repository.root]
    readable = [path for path in outside if path not in writable]
    return await _run(run, arguments, access, settings, inside, readable, writable)


async def git_without_repository(run: ToolRun, *arguments: str, access: Access) -> str:
    """Run git where there is no repository yet.

    Raises:
        ToolError: git failed; with its output.
    """
    return await _run(run, arguments, access, await read_settings({}, Path("/")), {}, [], [])


async def read_settings(inside: Mapping[str, str], folder: Path) -> list[Setting]:
    """Return the settings in force; reading them runs nothing.

    Args:
        inside: variables that name the repository; empty: only the user's own settings.

    Raises:
        ToolError: they cannot be read.
    """
    found = await run_here(["config", "--list", "--show-scope", "-z", "--includes"], folder, inside)
    if found.timed_out or found.cut or (found.code != 0 and found.errors):
        raise ToolError(f"the settings of git cannot be read: {found.errors.strip() or 'they have no end'}")
    return git_config.parse(found.output)


async def run_here(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Captured:
    """Run git as the user, outside of the sandbox; only for what reads settings or credentials.

    Raises:
        ToolError: git cannot be started.
    """
    kept = ("PATH", "HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "LANG", "USER")
    environ = {name: os.environ[name] for name in kept if name in os.environ} | _FIXED | dict(environment)
    environ.pop("GIT_CONFIG_NOSYSTEM")
    try:
        return await capture(
            ["git", "--no-pager", *arguments],
            timeout_s=_SETTINGS_TIMEOUT_S,
            cwd=folder,
            env=environ | {"GIT_CEILING_DIRECTORIES": str(folder)},
            max_output_bytes=_MAX_SETTINGS_BYTES,
        )
    except (OSError, ValueError) as exc:
        raise ToolError(f"git could not be run: {exc}") from exc


async def _run(
    run: ToolRun,
    arguments: Sequence[str],
    access: Access,
    settings: Sequence[Setting],
    inside: Mapping[str, str],
    readable: Sequence[Path],
    writable: Sequence[Path],
) -> str:
    own = git_config.users_own(settings, str(Path.home()))
    own += _default_files({key for key, _ in own})
    files = [Path(value) for key, value in own if key in git_config.FILES_NAMED]
    overrides = [*git_config.overrides(settings, own), *access.settings]
    environ = {**_FIXED, **git_config.as_environment(overrides), **inside, **access.environment}
    with _settings_file(git_config.as_file(own)) as file:
        try:
            ended = await run.sandbox.run(
                ["git", "--no-pager", *arguments],
                timeout_s=access.timeout_s,
                env=environ | {"GIT_CONFIG_GLOBAL": str(file), "GIT_ALLOW_PROTOCOL": access.protocols},
                network=access.network,
                readable=[*readable, *access.readable, *(path for path in files if path.is_file()), file],
                writable=writable,
                git_settings_writable=True,
            )
        except (OSError, ValueError) as exc:
            raise ToolError(f"git could not be run: {exc}") from exc
    if ended.timed_out:
        raise ToolError(f"git took more than {access.timeout_s:.0f} s and was killed")
    if ended.code != 0:
        raise ToolError(bounded(ended.output.strip()) or f"git ended with {ended.code}")
    return bounded(ended.output.strip())


def _default_files(named: set[str]) -> list[tuple[str, str]]:
    """Return the files git reads from the user's home where no setting names others."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "git"
    defaults = {"core.excludesfile": folder / "ignore", "core.attributesfile": folder / "attributes"}
    return [(key, str(path)) for key, path in defaults.items() if key not in named and path.is_file()]


@contextlib.contextmanager
def _settings_file(content: bytes) -> Generator[Path]:
    with tempfile.NamedTemporaryFile(prefix="syntor-git-") as file:
        file.write(content)
        file.flush()
        yield Path(file.name)
