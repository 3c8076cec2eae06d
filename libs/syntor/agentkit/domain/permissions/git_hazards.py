"""What a git command may destroy, publish or run, by its subcommand and options in any order."""

from __future__ import annotations

import re
from collections.abc import Callable

from syntor.agentkit.domain.permissions import words as w
from syntor.agentkit.domain.permissions.command import SimpleCommand
from syntor.agentkit.domain.permissions.file_uses import has_flag, operands
from syntor.agentkit.domain.permissions.rules import without_global_options

_KNOWN = frozenset(
    [
        "add",
        "am",
        "annotate",
        "apply",
        "archive",
        "bisect",
        "blame",
        "branch",
        "bundle",
        "cat-file",
        "check-attr",
        "check-ignore",
        "check-mailmap",
        "checkout",
        "checkout-index",
        "cherry",
        "cherry-pick",
        "clean",
        "clone",
        "column",
        "commit",
        "commit-graph",
        "commit-tree",
        "config",
        "count-objects",
        "credential",
        "daemon",
        "describe",
        "diff",
        "diff-files",
        "diff-index",
        "diff-tree",
        "difftool",
        "fast-export",
        "fast-import",
        "fetch",
        "filter-branch",
        "filter-repo",
        "fmt-merge-msg",
        "for-each-ref",
        "format-patch",
        "fsck",
        "gc",
        "grep",
        "gui",
        "hash-object",
        "help",
        "hook",
        "index-pack",
        "init",
        "interpret-trailers",
        "lfs",
        "log",
        "ls-files",
        "ls-remote",
        "ls-tree",
        "mailinfo",
        "maintenance",
        "merge",
        "merge-base",
        "merge-file",
        "merge-tree",
        "mergetool",
        "mv",
        "name-rev",
        "notes",
        "pack-objects",
        "prune",
        "pull",
        "push",
        "range-diff",
        "read-tree",
        "rebase",
        "reflog",
        "remote",
        "repack",
        "replace",
        "request-pull",
        "rerere",
        "reset",
        "restore",
        "rev-list",
        "rev-parse",
        "revert",
        "rm",
        "send-email",
        "shortlog",
        "show",
        "show-branch",
        "show-ref",
        "sparse-checkout",
        "stash",
        "status",
        "stripspace",
        "submodule",
        "subtree",
        "svn",
        "switch",
        "symbolic-ref",
        "tag",
        "update-index",
        "update-ref",
        "update-server-info",
        "var",
        "verify-commit",
        "verify-pack",
        "verify-tag",
        "version",
        "whatchanged",
        "worktree",
        "write-tree",
        "gitk",
        "flow",
        "crypt",
        "absorb",
        "town",
        "machete",
    ]
)
_SAFE_KEYS = re.compile(
    r"(user\.|author\.|committer\.|color\.|column\.|advice\.|pull\.|push\.(default|followtags|"
    r"autosetupremote)|init\.defaultbranch|log\.|diff\.(algorithm|renames|context|noprefix|"
    r"mnemonicprefix|colormoved)"
    r"|merge\.(ff|conflictstyle)|rebase\.(autosquash|autostash)|fetch\.(prune|parallel)|"
    r"core\.(quotepath|autocrlf|eol|filemode|ignorecase|abbrev|longpaths|pager=(cat|less)?$|"
    r"editor=true$)|branch\.|commit\.gpgsign|tag\.gpgsign|gc\.auto"
    r"|http\.(postbuffer|lowspeed)|protocol\.version|safe\.directory|alias\.)",
    re.IGNORECASE,
)


def git_protected(command: SimpleCommand) -> str:
    """Return why a git command changes what grants rights or runs later; empty: it does not."""
    verb, rest = verb_of(command)
    if verb == "config":
        return _config(rest)
    if (
        verb == "hook"
        or (verb == "lfs" and rest[:1] == ["install"])
        or (verb == "maintenance" and rest[:1] == ["start"])
    ):
        return "sets up what git runs later"
    if verb == "remote" and rest[:1] in (["set-url"], ["rename"]):
        return "changes where git pushes to"
    if verb in ("credential", "daemon"):
        return "reads credentials" if verb == "credential" else "serves the repository"
    return ""


def git_risk(command: SimpleCommand, exists: Callable[[str], bool]) -> str:
    """Return what work a git command may destroy or what it may run unseen; empty: none.

    Args:
        exists: whether a path names a file or folder.
    """
    words = command.words
    verb, rest = verb_of(command)
    head = words[: len(words) - len(rest)]  # options before the subcommand
    for index, word in enumerate(head[:-1]):
        if word == "-c" and not _SAFE_KEYS.match(words[index + 1]):
            return f"sets {w.shown(words[index + 1]).partition('=')[0]}, which may run a program"
    if any(word.startswith(("--exec-path=", "--upload-pack", "--receive-pack", "--config-env")) for word in words):
        return "names a program for git to run"
    if not verb:
        return ""
    if w.is_pattern(verb):
        return "its subcommand is known only when it runs"
    if verb not in _KNOWN:
        return f"`git {verb}` is no command of git itself; it may be an alias"
    check = _CHECKS.get(verb)
    if check is None:
        return ""
    return check(rest, exists)


def verb_of(command: SimpleCommand) -> tuple[str, list[str]]:
    """Return the subcommand of a git command and its arguments; empty: it has none."""
    words = without_global_options(("git", *command.words[1:]))[0]
    return (words[1], list(words[2:])) if len(words) > 1 else ("", [])


def staged_paths(command: SimpleCommand) -> list[str] | None:
    """Return the paths a git command stages, seen from where it runs; None: it stages none."""
    verb, rest = verb_of(command)
    if verb in ("add", "stage"):
        if has_flag(rest, "n", "--dry-run"):
            return None
        return operands("git", rest) or ["."]
    if verb == "commit" and has_flag([word for word in rest if not word.startswith("-m")], "a", "--all"):
        return ["."]
    if verb == "stash" and has_flag(rest, "ua", "--include-untracked", "--all"):
        return None
    return None


def _config(rest: list[str]) -> str:
    reading = has_flag(
        rest, "l", "--get", "--get-all", "--get-regexp", "--get-urlmatch", "--list", "--show-origin"
    ) or rest[:1] in (["get"], ["list"])
    words = [word for word in operands("git", rest) if word not in ("set", "unset")]
    changing = has_flag(
        rest, "e", "--unset", "--unset-all", "--replace-all", "--add", "--edit", "--remove-section", "--rename-section"
    ) or rest[:1] in (["set"], ["unset"], ["edit"])
    if reading or (len(words) < 2 and not changing):
        return ""
    key = words[0] if words else ""
    harmless = (
        _SAFE_KEYS.match(key) is not None
        and not key.lower().startswith("alias.")
        and not has_flag(rest, "e", "--edit", "--global", "--system", "--file")
    )
    return "" if harmless else f"changes git's configuration{f' ({w.shown(key)})' if key else ''}"


def _push(rest: list[str], exists: Callable[[str], bool]) -> str:
    if has_flag(rest, "f", "--force", "--force-with-lease", "--force-if-includes", "--mirror", "--prune"):
        return "overwrites a remote branch"
    if has_flag(rest, "d", "--delete") or any(re.match(r":.", word) for word in rest):
        return "deletes a remote branch"
    if any(word.startswith("+") for word in rest):
        return "overwrites a remote branch"
    return (
        "pushes what is known only when it runs"
        if any(w.ANY in word for word in rest) and any(word == w.ANY for word in rest)
        else ""
    )


def _reset(rest: list[str], exists: Callable[[str], bool]) -> str:
    return (
        "discards changes"
        if has_flag(rest, "", "--hard", "--merge", "--keep") or any(word == w.ANY for word in rest)
        else ""
    )


def _clean(rest: list[str], exists: Callable[[str], bool]) -> str:
    return "" if has_flag(rest, "n", "--dry-run") else "removes files git does not know"


def _checkout(rest: list[str], exists: Callable[[str], bool]) -> str:
    if has_flag(rest, "f", "--force") or has_flag(rest, "", "--ours", "--theirs", "--pathspec-from-file"):
        return "discards changes"
    if "--" in rest:
        return "discards changes of files" if rest[rest.index("--") + 1 :] else ""
    if has_flag(rest, "bB", "--orphan"):
        return "resets a branch" if has_flag(rest, "B") else ""
    return (
        "discards changes of files"
        if any(exists(word) or word in (".", ":/") for word in operands("git", rest))
        else ""
    )


def _restore(rest: list[str], exists: Callable[[str], bool]) -> str:
    only_staged = has_flag(rest, "S", "--staged") and not has_flag(rest, "W", "--worktree")
    return "" if only_staged else "discards changes of files"


def _switch(rest: list[str], exists: Callable[[str], bool]) -> str:
    return "discards changes" if has_flag(rest, "fC", "--force", "--discard-changes", "--force-create") else ""


def _branch(rest: list[str], exists: Callable[[str], bool]) -> str:
    forced = has_flag(rest, "DMCf", "--force")
    return "deletes or moves a branch whatever it holds" if forced else ""


def _stash(rest: list[str], exists: Callable[[str], bool]) -> str:
    return "discards stashed changes" if rest[:1] in (["drop"], ["clear"]) else ""


def _of_words(reason: str, *words: str, letters: str = "") -> Callable[[list[str], Callable[[str], bool]], str]:
    """Return a check for subcommands and options by name."""

    def check(rest: list[str], exists: Callable[[str], bool]) -> str:
        named = any(word.partition("=")[0] in words for word in rest)
        return reason if named or (letters and has_flag(rest, letters)) else ""

    return check


def _always(reason: str) -> Callable[[list[str], Callable[[str], bool]], str]:
    return lambda rest, exists: reason


_CHECKS: dict[str, Callable[[list[str], Callable[[str], bool]], str]] = {
    "push": _push, "reset": _reset, "clean": _clean, "checkout": _checkout, "restore": _restore, "switch": _switch,
    "branch": _branch, "stash": _stash,
    "rm": _of_words("removes files with their changes", "--force", letters="f"),
    "tag": _of_words("deletes or moves a tag", "--delete", "--force", letters="df"),
    "reflog": _of_words("removes the way back to lost commits", "expire", "delete", "drop"),
    "gc": _of_words("removes the way back to lost commits", "--prune", "--aggressive"),
    "prune": _always("removes the way back to lost commits"), "filter-branch": _always("rewrites history"),
    "filter-repo": _always("rewrites history"),
    "update-ref": _always("moves references"), "replace": _always("replaces objects"),
    "symbolic-ref": _always("moves references"),
    "checkout-index": _of_words("overwrites files", "--force", "--all", letters="fa"),
    "read-tree": _of_words("overwrites files", "--reset", letters="u"),
    "worktree": _of_words("removes a work tree with its changes", "--force", letters="f"),
    "submodule": _of_words("removes a submodule's changes", "deinit", "--force"),
    "remote": _of_words("removes a remote", "remove", "rm", "prune"),
    "mv": _of_words("overwrites files", "--force", letters="f"), "send-email": _always("sends mail"),
    "fetch": _of_words("overwrites references", "--force", letters="f"),
    "pull": _of_words("overwrites references", "--force", letters="f"),
    "difftool": _of_words("runs a program", "--extcmd", letters="x"),
    "merge": _of_words("discards changes", "--abort", "--quit"),
    "rebase": _of_words("discards changes", "--abort", "--skip", "--quit"),
    "clone": _of_words("runs a program it names", "--config", "--upload-pack", "--template", letters="cu"),
    "grep": _of_words("runs a program", "--open-files-in-pager", letters="O"),
    "am": _of_words("discards changes", "--abort", "--skip"),
    "cherry-pick": _of_words("discards changes", "--abort", "--skip"), "lfs": _of_words("removes files", "prune"),
}  # fmt: skip
