"""What a command does to files that must not be lost, learned or changed unseen."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import PurePath

from syntor.agentkit.domain.permissions import words as w
from syntor.agentkit.domain.permissions.command import SimpleCommand
from syntor.agentkit.domain.permissions.file_uses import WRITES, FileUse, file_uses, has_flag
from syntor.agentkit.domain.permissions.files import Files, absolute, inside
from syntor.agentkit.domain.permissions.sensitive_files import grants_or_runs
from syntor.agentkit.domain.secret_files import is_secret

_SCRATCH = ("/tmp/", "/var/tmp/", "/dev/shm/", "/private/tmp/")
_STREAMS = re.compile(r"/dev/(null|stdout|stderr|stdin|tty|zero|full|random|urandom|fd/.*)\Z")
_DISK = re.compile(r"/dev/(sd|nvme|vd|hd|xvd|mmcblk|disk|mapper|loop|mem|kmem|ram)")
_SYSTEM = (
    "/etc",
    "/boot",
    "/sys",
    "/proc",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/var",
    "/opt",
    "/root",
    "/home",
    "/srv",
    "/dev",
    "/System",
    "/Library",
    "/Users",
    "/mnt",
    "/media",
    "/run",
)
_READABLE = (
    "/usr/",
    "/etc/",
    "/bin/",
    "/sbin/",
    "/lib",
    "/opt/",
    "/proc/",
    "/sys/",
    "/dev/",
    "/var/log/",
    "/nix/",
    "/snap/",
    *_SCRATCH,
)
_REGENERATED = re.compile(
    r"(^|/)(node_modules|__pycache__|\.pytest_cache|\.mypy_cache|\.ruff_cache|\.tox|\.nox|\.next|"
    r"\.nuxt|\.turbo|\.parcel-cache|\.eggs|htmlcov|\.cache|\.nyc_output|\.hypothesis|"
    r"\.ipynb_checkpoints|[^/]*\.egg-info)(/|$)"
    r"|\.(pyc|pyo|o|obj|class|log|tmp|swp|orig|rej|bak)$|(^|/)(\.coverage(\..*)?|\.DS_Store|coverage\.xml|nohup\.out)$"
)


def located(command: SimpleCommand, files: Files) -> Iterator[tuple[FileUse, str]]:
    """Yield each file a command uses with the absolute paths it names now, file patterns resolved, links followed."""
    for use in file_uses(command):
        if w.ANY in use.word:
            continue
        for path in _paths(command, files, use.word):
            yield use, path


def _paths(command: SimpleCommand, files: Files, word: str) -> list[str]:
    if word.startswith(("http:", "https:", "ssh:", "git@")):
        return []
    path = absolute(files, command.cwd, word)
    if path is None:
        return [f"{files.root}/{word}"] if not word.startswith("/") else []
    found = [path]
    if w.STAR in word or w.ONE in word:
        found = [each for each in files.matches(w.shown(path)) if w.can_be(path, each)]
        name = posixpath.basename(path)
        if is_secret_pattern(name):
            found.append(posixpath.join(posixpath.dirname(path), ".env"))
    linked = [files.resolved(each) for each in found]
    return list(dict.fromkeys([*found, *linked]))


def is_secret_pattern(name: str) -> bool:
    """Return whether a file pattern is made for files with secrets, such as `.e*` or `*.pem`."""
    return w.is_pattern(name) and name.startswith((".e", ".en")) and w.can_be(name, ".env")


def forbidden_path(command: SimpleCommand, files: Files) -> str:
    """Return why no approval can make good what a command does to a path; empty: one can."""
    recursive = command.name == "rm" and has_flag(command.words[1:], "rR", "--recursive")
    for use, path in located(command, files):
        if use.how in ("overwrite", "append", "into", "edit") and _DISK.match(path):
            return "overwrites a device"
        if use.how == "read" and is_secret(PurePath(path)):
            return f"{w.shown(use.word)} may hold secrets"
    if recursive or command.name in ("chmod", "chown", "chgrp", "shred", "srm"):
        whole = recursive or has_flag(command.words[1:], "R", "--recursive")
        for word in command.words[1:]:
            if whole and _is_whole_tree(command, files, word):
                return "removes a whole tree" if recursive else "changes permissions of a whole tree"
    if (
        command.name == "find"
        and "-delete" in command.words
        and any(_is_whole_tree(command, files, word, below=False) for word in command.words[1:2])
    ):
        return "removes a whole tree"
    return ""


def _is_whole_tree(command: SimpleCommand, files: Files, word: str, *, below: bool = True) -> bool:
    """Return whether a word names the root, a home, a system folder, or a folder around the workspace."""
    if word.startswith("-"):
        return False
    if word.strip(w.STAR + w.ONE + w.ANY) == "":
        word = "."
    stem = (
        re.sub(rf"/?[{w.STAR}{w.ONE}.{w.ANY}]*$", "", word)
        if word.endswith((w.STAR, w.ONE, w.ANY)) and "/" in word
        else word
    )
    if stem == "" or word in ("~", "~/"):
        return True
    path = absolute(files, command.cwd, stem)
    if path is None or w.is_pattern(path):
        return False
    own_root = path == files.root and below and word.startswith(("/", "~", ".."))
    around = files.root.startswith(path.rstrip("/") + "/") or path == "/"
    return (
        around
        or own_root
        or path == files.home
        or path in _SYSTEM
        or path.startswith(("/dev/", "/sys", "/proc", "/boot"))
    )


def protected_path(command: SimpleCommand, files: Files) -> str:
    """Return why a command's use of a path requires approval in every mode; empty: none does."""
    for use, path in located(command, files):
        here = inside(files, path)
        shown = w.shown(use.word)
        if use.how in WRITES:
            targets = (
                [path, *(posixpath.join(path, posixpath.basename(each)) for each in use.sources)]
                if use.how == "into"
                else [path]
            )
            for target in targets:
                within = inside(files, target)
                if reason := grants_or_runs(PurePath(target if within is None else within)):
                    return f"{shown} {reason}"
            if is_secret(PurePath(path)):
                return f"{shown} may hold secrets"
        elif use.how == "name" and is_secret(PurePath(path)):
            return f"{shown} may hold secrets"
        elif use.how == "name" and command.name in ("ln", "cp") and grants_or_runs(PurePath(here or path)):
            return f"{shown} {grants_or_runs(PurePath(here or path))}"
    return ""


def path_risk(command: SimpleCommand, files: Files) -> str:
    """Return why a command's use of paths requires approval in mode auto; empty: it does not."""
    for use in file_uses(command):
        if w.ANY in use.word and use.how in WRITES and use.how not in ("attributes", "append"):
            fixed = absolute(files, command.cwd, use.word.split(w.ANY, 1)[0] or ".")
            if fixed is not None and fixed.startswith(_SCRATCH):
                continue
            return f"{_VERBS[use.how]} a file known only when it runs"
    for use, path in located(command, files):
        if _STREAMS.match(path) or (path.startswith(_SCRATCH) and files.root not in path):
            continue
        here, shown = inside(files, path), w.shown(use.word)
        if use.how in WRITES and use.how != "attributes" and here is None and path != files.root:
            return f"{_VERBS[use.how]} {shown}, which is outside the workspace"
        if (
            use.how in ("read", "name", "mention")
            and here is None
            and not path.startswith(_READABLE)
            and path not in ("/", files.root)
            and files.kind(path)
        ):
            return f"{shown} is outside the workspace"
        if reason := _loss(use, path, here or "", files, command):
            return reason
    if command.name in ("cd", "pushd") and command.words[1:] and w.is_known(command.words[-1]):
        path = absolute(files, command.cwd, command.words[-1]) or files.root
        if inside(files, path) is None and not path.startswith(_SCRATCH):
            return f"{w.shown(command.words[-1])} is outside the workspace"
    return ""


_VERBS = {
    "overwrite": "overwrites",
    "append": "writes",
    "edit": "changes",
    "remove": "removes",
    "move": "moves",
    "into": "writes",
    "attributes": "changes",
}


def _loss(use: FileUse, path: str, here: str, files: Files, command: SimpleCommand) -> str:
    """Return what of the workspace is lost."""
    shown = w.shown(use.word)
    if _REGENERATED.search(here):
        return ""
    if use.how == "remove" and command.name == "rm" and has_flag(command.words[1:], "rR", "--recursive"):
        return "removes folders"
    kind = files.kind(path)
    if use.how == "remove" and command.name in ("rm", "unlink", "shred", "trash", "srm") and kind == "file":
        return f"removes {shown}"
    if use.how == "overwrite" and kind == "file":
        return f"overwrites {shown}"
    if use.how == "into":
        targets = (
            [posixpath.join(path, posixpath.basename(each)) for each in use.sources] if kind == "folder" else [path]
        )
        if any(files.kind(target) == "file" for target in targets):
            return f"overwrites {shown}"
        if command.name == "rsync" and any(word.startswith("--delete") for word in command.words):
            return f"removes files of {shown}"
    return ""
