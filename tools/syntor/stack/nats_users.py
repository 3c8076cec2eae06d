"""Keys of the NATS users, and the authorization section of the server's configuration.

A key is created once: `<user>.nk` holds the seed, readable by its owner only, `<user>.pub` the public key for the
server. Run as a program (`python -m syntor.stack.nats_users [--config] FOLDER [AGENT...]`) it creates missing keys, so
that the supervisor never loads the cryptography.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from syntor.contracts import access
from syntor.contracts.access import SEED_SUFFIX, NatsUser
from syntor.contracts.errors import ConfigurationError
from syntor.runtime.private_files import make_private_folder, private
from syntor.stack.services import AGENT_PREFIX, SERVICES

_REPLY_WITHIN = "1m"
LOCAL_AGENTS = tuple(spec.name.removeprefix(AGENT_PREFIX) for spec in SERVICES if spec.is_agent)


def make_keys(folder: Path, users: Iterable[NatsUser]) -> list[str]:
    """Create missing keys; return the names of their users.

    Raises:
        ConfigurationError: the folder cannot be written; names it.
    """
    nkeys: Any = importlib.import_module("nkeys")  # untyped, and used only here

    created: list[str] = []
    try:
        make_private_folder(folder)
        folder.chmod(0o700)
        for user in users:
            if (folder / f"{user.name}.pub").exists() and (folder / f"{user.name}{SEED_SUFFIX}").exists():
                continue
            seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
            with open(folder / f"{user.name}{SEED_SUFFIX}", "wb", opener=private) as file:
                file.write(bytes(seed) + b"\n")
            with open(folder / f"{user.name}.pub", "wb", opener=private) as file:
                file.write(nkeys.from_seed(seed).public_key + b"\n")
            created.append(user.name)
    except OSError as exc:
        raise ConfigurationError(f"keys of NATS users: {folder}: {exc.strerror or exc}") from exc
    return created


def ensure_local_keys(folder: Path) -> None:
    """Create missing keys of a local stack, in a separate process.

    Raises:
        ConfigurationError: they cannot be created.
    """
    if all((folder / f"{user.name}.pub").exists() for user in access.users(LOCAL_AGENTS)):
        return
    command = [sys.executable, "-P", "-m", "syntor.stack.nats_users", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigurationError(done.stderr.strip().removeprefix("error: ") or f"no keys in {folder}")


def render_users(folder: Path, agents: Iterable[str]) -> str:
    """Return the authorization section of nats-server's configuration; it admits no client without a key.

    Raises:
        ConfigurationError: a key is missing; names its file.
    """
    entries: list[dict[str, Any]] = []
    for user in access.users(agents):
        path = folder / f"{user.name}.pub"
        try:
            entries.append({"nkey": path.read_text("ascii").strip()} | _permissions(user))
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigurationError(f"public key {path}: {exc}; syntor admin apply --users {folder}") from exc
    lines = ["authorization {", "  users = ["]
    lines += [f"    {json.dumps(entry)}" for entry in entries]
    lines += ["  ]", "}"]
    return "\n".join(lines) + "\n"


def _permissions(user: NatsUser) -> dict[str, Any]:
    publish: dict[str, Any] = {"allow": user.publish}
    if user.publish_denied:
        publish["deny"] = user.publish_denied
    subscribe: dict[str, Any] = {"allow": user.subscribe}
    if user.subscribe_denied:
        subscribe["deny"] = user.subscribe_denied
    permissions: dict[str, Any] = {"publish": publish, "subscribe": subscribe}
    if user.answers:
        permissions["allow_responses"] = {"max": 1, "expires": _REPLY_WITHIN}
    return {"permissions": permissions}


def write_users(folder: Path, agents: Iterable[str]) -> list[str]:
    """Create missing keys and `users.conf`, for a server to include; return a line for each change.

    Raises:
        ConfigurationError: the folder cannot be written; names it.
    """
    names = list(dict.fromkeys(agents))
    lines = [f"user {name} created in {folder}" for name in make_keys(folder, access.users(names))]
    path = folder / "users.conf"
    text = render_users(folder, names)
    if not path.exists() or path.read_text() != text:
        with open(path, "w", opener=private) as file:
            file.write(text)
        lines.append(f"{path} written; include it in the server's configuration and reload it")
    return lines


def main(arguments: list[str]) -> int:
    """Create missing keys in a folder; with `--config` also `users.conf`."""
    with_configuration = "--config" in arguments
    folder, *agents = (argument for argument in arguments if argument != "--config")
    try:
        if with_configuration:
            write_users(Path(folder), agents or LOCAL_AGENTS)
        else:
            make_keys(Path(folder), access.users(agents or LOCAL_AGENTS))
    except ConfigurationError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
