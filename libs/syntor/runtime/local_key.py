"""The key of the local user: `<home>/key`, a bearer token for all the local account may do.

Who can read the file acts as the user: it has mode 0600, and one that other accounts own or may read is refused.
"""

from __future__ import annotations

import hmac
import os
import pwd
import re
import secrets
import stat
from datetime import UTC, datetime
from pathlib import Path

from syntor.contracts.errors import ConfigurationError
from syntor.runtime.private_files import FILE_MODE, make_private_folder
from syntor.runtime.tokens import PREFIX, Token, hash_of

FILE = "key"
_FORM = re.compile(rf"{PREFIX}_(?P<id>[0-9a-f]{{8}})_(?P<secret>[A-Za-z0-9_-]{{40,}})\n?\Z")
_MAX_BYTES = 256


def local_user() -> str:
    """Return the name of the account this process runs as; its number where it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def ensure_key(home: Path) -> str:
    """Return the key of a home folder; make one where there is none.

    Raises:
        ConfigurationError: there is one that cannot be trusted, or none can be written; names the file and the fix.
    """
    key = read_key(home)
    return key or _make(home)


def read_key(home: Path) -> str:
    """Return the key of a home folder; empty: there is none.

    Raises:
        ConfigurationError: it is a link, belongs to another account, others may read it, or it is no key.
    """
    path = home / FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError as exc:
        reason = "it is a symbolic link" if path.is_symlink() else exc.strerror
        raise ConfigurationError(f"key file {path}: {reason}; {_renewal(path)}") from exc
    try:
        _check(path, os.fstat(descriptor))
        text = os.read(descriptor, _MAX_BYTES).decode("ascii", "replace")
    finally:
        os.close(descriptor)
    if _FORM.match(text) is None:
        raise ConfigurationError(f"key file {path}: it holds no key; {_renewal(path)}")
    return text.strip()


class KeyFile:
    """The key as the file has it now; a lookup costs one `stat`."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE
        self._home = home
        self._stamp: tuple[int, ...] | None = None
        self._token: Token | None = None

    def find(self, text: str) -> Token | None:
        """Return the local user where a text is the key; else None.

        Raises:
            ConfigurationError: the file cannot be trusted any more.
        """
        self._refresh()
        match, token = _FORM.match(text), self._token
        if match is None or token is None or match["id"] != token.id:
            return None
        return token if hmac.compare_digest(token.sha256, hash_of(match["secret"])) else None

    def _refresh(self) -> None:
        try:
            status = self.path.lstat()
            stamp: tuple[int, ...] = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
        except OSError:
            stamp = (0,)
        if stamp == self._stamp:
            return
        self._stamp, self._token = None, None
        if match := _FORM.match(read_key(self._home)):
            now = datetime.now(UTC)
            self._token = Token(
                id=match["id"], name=local_user(), scopes=["admin"], sha256=hash_of(match["secret"]), created_at=now
            )
        self._stamp = stamp


def _check(path: Path, status: os.stat_result) -> None:
    """Check what is known of an open key file.

    Raises:
        ConfigurationError: other accounts could have written it, or may read it.
    """
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"key file {path}: it is no regular file; {_renewal(path)}")
    if status.st_uid != os.geteuid():
        raise ConfigurationError(
            f"key file {path} belongs to uid {status.st_uid}, this process runs as uid {os.geteuid()}: "
            "run Syntor as its owner, or set SYNTOR_HOME to a folder of your own"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigurationError(
            f"key file {path} has mode {mode:04o}, so other accounts may have read it; {_renewal(path)} "
            f"(or keep it: chmod 600 {path})"
        )


def _renewal(path: Path) -> str:
    return f"remove it, and the next `syntor up` makes a new one: rm {path}"


def _make(home: Path) -> str:
    """Write a new key, or return the one that another process has written meanwhile."""
    text = f"{PREFIX}_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
    path, temporary = home / FILE, home / f".{FILE}.{secrets.token_hex(8)}"
    try:
        make_private_folder(home)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
        try:
            with os.fdopen(descriptor, "w") as file:
                os.fchmod(descriptor, FILE_MODE)
                file.write(text + "\n")
                file.flush()
                os.fsync(descriptor)
            os.link(temporary, path)
        finally:
            temporary.unlink()
    except FileExistsError:
        return read_key(home)
    except OSError as exc:
        raise ConfigurationError(f"key file {path} cannot be written: {exc.strerror or exc}") from exc
    return text
