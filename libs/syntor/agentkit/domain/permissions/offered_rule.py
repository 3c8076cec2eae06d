"""The rule offered for "always": as narrow as the meaning of the command it was asked for."""

from __future__ import annotations

from syntor.agentkit.domain.permissions import words as w
from syntor.agentkit.domain.permissions.command import SimpleCommand
from syntor.agentkit.domain.permissions.rules import program, without_global_options
from syntor.agentkit.domain.permissions.running_programs import CONTAINERS, RUNNERS, SHELLS, interpreter

_WIDE = frozenset(
    [
        "ls",
        "cat",
        "head",
        "tail",
        "wc",
        "grep",
        "egrep",
        "fgrep",
        "rg",
        "ag",
        "tree",
        "stat",
        "file",
        "du",
        "df",
        "diff",
        "cmp",
        "cut",
        "tr",
        "uniq",
        "column",
        "jq",
        "basename",
        "dirname",
        "realpath",
        "readlink",
        "which",
        "whoami",
        "date",
        "nproc",
        "uname",
        "ps",
        "pytest",
        "tox",
        "nox",
        "mypy",
        "ruff",
        "black",
        "flake8",
        "isort",
        "pylint",
        "pyright",
        "eslint",
        "prettier",
        "tsc",
        "jest",
        "vitest",
        "mocha",
        "gofmt",
        "rustfmt",
        "clang-format",
        "clang-tidy",
        "shellcheck",
        "yamllint",
        "hadolint",
        "ctest",
        "cmake",
        "ninja",
        "phpunit",
        "rspec",
        "rubocop",
    ]
)
"""Programs whose arguments only say what is looked at, checked or built."""
_VERBS = {
    "git":
        "status diff log show add commit fetch blame grep ls-files rev-parse describe shortlog "
        "stash-list", "npm": "test ci ls outdated audit", "pnpm": "test ls outdated", "yarn": "test why",
        "cargo": "build test check clippy fmt doc bench tree",
    "go": "build test vet fmt list doc", "docker": "ps images logs inspect build", "kubectl": "get describe logs",
    "make": "", "gradle": "", "mvn": "", "dotnet": "build test", "swift": "build test", "uv": "sync lock",
    "pip": "list show freeze check", "poetry": "check show lock",
}  # fmt: skip


def offered_rule(command: SimpleCommand) -> str:
    """Return the rule that allows commands like this one; empty: none should.

    A program that runs what its arguments say gets a rule for this very command only.
    """
    named = (program(command.words[0]), *command.words[1:]) if command.words else ()
    words, harmless = without_global_options(named) if named else ((), True)
    if not words or not harmless or any(w.is_pattern(word) or "*" in word or not word.isprintable() for word in words):
        return ""
    if any(
        each in SHELLS or each in RUNNERS or each in CONTAINERS
        for each in (outer[0].rpartition("/")[2] for outer, _ in command.outer)
    ):
        return ""
    name = words[0]
    line = " ".join(words)
    if command.redirections or any(" " in word or ")" in word or "(" in word for word in words[:2]):
        return ""
    if interpreter(name):
        if (
            words[1:2] == ("-m",)
            and len(words) > 2
            and words[2] in ("pytest", "unittest", "mypy", "ruff", "black", "flake8", "compileall")
        ):
            return f"bash({' '.join(words[:3])} *)" if len(words) > 3 else f"bash({line})"
        return "" if _has_code(words) else f"bash({line})"
    if name in SHELLS or (
        name in RUNNERS
        and words[1:2]
        not in (
            ("run",),
            ("test",),
            ("ci",),
            ("ls",),
            ("sync",),
            ("lock",),
            ("check",),
            ("show",),
            ("audit",),
            ("outdated",),
            ("why",),
        )
        and name not in ("npm", "pnpm", "yarn", "bun", "uv", "poetry")
    ):
        return ""
    if name in ("eval", "source", ".", "exec", "xargs", "ssh", "sudo", "env"):
        return ""
    if name in _WIDE and len(words) > 1:
        return f"bash({name} *)"
    if name in _VERBS and len(words) > 2 and words[1] in _VERBS[name].split():
        return f"bash({name} {words[1]} *)"
    return f"bash({line})"


def _has_code(words: tuple[str, ...]) -> bool:
    return any(word in ("-c", "-e", "-E", "--eval", "-p", "-pe", "-ne", "-r") or " " in word for word in words[1:])
