"""Which settings git runs with: the user's own, and of a repository's none that names a program.

A repository's configuration may be of any origin, and git runs what some of its settings name (filters, hooks, diff
and merge drivers, helpers, pagers, transports). Each of these is overridden with the user's own value or with a
harmless one, before git reads a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

_USERS_OWN = ("system", "global")
_FIXED = {
    "core.fsmonitor": "false",
    "core.hookspath": "/dev/null",
    "core.pager": "cat",
    "core.editor": "true",
    "core.askpass": "",
    "core.alternaterefscommand": "true",
    "core.quotepath": "false",  # names are shown as text; those with control characters stay quoted
    "credential.helper": "",  # empties the list of helpers
    "diff.external": "",
    "diff.submodule": "short",  # the longer forms run git in the submodule, with its own configuration
    "diff.ignoresubmodules": "dirty",
    "status.submodulesummary": "false",
    "submodule.recurse": "false",
    "fetch.recursesubmodules": "false",
    "push.recursesubmodules": "no",
    "log.showsignature": "false",
    "commit.gpgsign": "false",
    "tag.gpgsign": "false",
    "push.gpgsign": "false",
    "merge.verifysignatures": "false",
    "gpg.program": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "protocol.ext.allow": "never",
    "safe.directory": "*",  # which folder is worked in was decided by the person who started the run
    "safe.barerepository": "explicit",
}
_OVERRIDDEN = (
    (re.compile(r"filter\..+\.(clean|smudge|process)\Z", re.DOTALL), ""),
    (re.compile(r"filter\..+\.required\Z", re.DOTALL), "false"),
    (re.compile(r"merge\..+\.driver\Z", re.DOTALL), "git merge-file %A %O %B"),
    (re.compile(r"diff\..+\.(command|textconv)\Z", re.DOTALL), ""),
    (re.compile(r"remote\..+\.uploadpack\Z", re.DOTALL), "git-upload-pack"),
    (re.compile(r"remote\..+\.receivepack\Z", re.DOTALL), "git-receive-pack"),
    (re.compile(r"branch\..+\.mergeoptions\Z", re.DOTALL), ""),
    (re.compile(r"gpg\..+\.program\Z"), "false"),
    (re.compile(r"pull\.(twohead|octopus)\Z"), "ort"),
)
_RUNS_WITH_LFS = re.compile(r"lfs\.(extension|customtransfer)\.|lfs\.standalonetransferagent\Z|lfs\..*\.standalone")
_DEFAULT_IDENTITY = {
    "name": "Syntor",
    "email": "syntor@localhost",
}  # whose commits these are where the user says nothing
_NOT_TAKEN_OVER = re.compile(r"include\.|includeif\.|credential\.|alias\.|pager\.|safe\.|gpg\.")
FILES_NAMED = ("core.excludesfile", "core.attributesfile", "commit.template", "mailmap.file", "http.sslcainfo")
"""Settings of the user whose value is a file git has to read."""


class Setting(msgspec.Struct, frozen=True):
    """One setting, as `git config --list` has it."""

    scope: str
    """system, global, local, worktree or command."""
    key: str
    """Section and name in small letters; what is between the first and the last dot as it is."""
    value: str


def parse(listed: bytes) -> list[Setting]:
    """Return the settings of `git config --list --show-scope -z`, in order."""
    fields = listed.decode("utf-8", "surrogateescape").split("\0")[:-1]
    found: list[Setting] = []
    for scope, entry in zip(fields[::2], fields[1::2], strict=False):
        key, _, value = entry.partition("\n")
        found.append(Setting(scope, key, value if "\n" in entry else "true"))
    return found


def users_own(settings: Iterable[Setting], home: str) -> list[tuple[str, str]]:
    """Return the user's own settings that git works with, `~/` replaced by the home folder, in order."""
    return [
        (setting.key, home + setting.value[1:] if setting.value.startswith("~/") else setting.value)
        for setting in settings
        if setting.scope in _USERS_OWN and not _NOT_TAKEN_OVER.match(setting.key)
    ]


def overrides(settings: Iterable[Setting], own: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return settings that take precedence over those of a repository.

    Args:
        settings: all that were found.
        own: the user's own.
    """
    listed, mine = list(settings), dict(own)
    foreign = {setting.key for setting in listed if setting.scope not in _USERS_OWN}
    result = dict(_FIXED)
    for key in sorted(foreign):
        for pattern, harmless in _OVERRIDDEN:
            if pattern.match(key):
                result[key] = mine.get(key, harmless)
    if any(_RUNS_WITH_LFS.match(key) for key in foreign):  # git-lfs would run what these name
        result |= {f"filter.lfs.{name}": "" for name in ("clean", "smudge", "process")} | {
            "filter.lfs.required": "false"
        }
    known = {setting.key for setting in listed}
    result |= {f"user.{name}": value for name, value in _DEFAULT_IDENTITY.items() if f"user.{name}" not in known}
    return list(result.items())


def as_file(settings: Iterable[tuple[str, str]]) -> bytes:
    """Return a configuration file with settings, in order."""
    lines: list[str] = []
    for key, value in settings:
        section, _, rest = key.partition(".")
        subsection, _, name = rest.rpartition(".")
        quoted = f' "{_escaped(subsection)}"' if subsection else ""
        lines.append(f'[{section}{quoted}]\n\t{name} = "{_escaped(value)}"\n')
    return "".join(lines).encode("utf-8", "surrogateescape")


def as_environment(settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return variables that give git settings which precede those of all files."""
    environ: dict[str, str] = {}
    count = 0
    for count, (key, value) in enumerate(settings, 1):
        environ |= {f"GIT_CONFIG_KEY_{count - 1}": key, f"GIT_CONFIG_VALUE_{count - 1}": value}
    return environ | {"GIT_CONFIG_COUNT": str(count)}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
