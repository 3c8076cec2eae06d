"""Matches permission rules with tool calls and with the simple commands of a shell command.

A rule for commands is compared with a command's normal form: quotes resolved, assignments and wrappers removed, the
program without its folder, its global options left out. Deny and ask rules are also compared with other ways to write
the same, and with what a command could be once its variables are known; allow rules only with what it is.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from syntor.agentkit.domain.permissions import words as w
from syntor.agentkit.domain.permissions.command import SimpleCommand
from syntor.agentkit.domain.permissions.file_uses import ONLY_NAMES, READERS
from syntor.contracts.permissions import RULE

_CODE_OPTIONS = frozenset({"-c", "--run", "--command", "--exec", "-e", "-ex", "--cmd", "--eval", "--shell", "--call"})
_SYSTEM_FOLDERS = ("/usr/bin/", "/bin/", "/usr/local/bin/", "/usr/sbin/", "/sbin/", "/opt/homebrew/bin/")
GLOBAL_OPTIONS: dict[str, str] = {
    # options before the subcommand that have a value
    "git": "-C -c --git-dir --work-tree --namespace --exec-path --config-env --super-prefix --attr-source",
    "docker": "-H --host -c --context --config -l --log-level", "podman": "--connection --root --log-level",
    "kubectl": "-n --namespace --context --kubeconfig --cluster --user -s --server",
    "helm": "-n --namespace --kube-context --kubeconfig",
    "npm": "--prefix -w --workspace -C", "pnpm": "-C --dir --filter -F", "yarn": "--cwd", "bun": "--cwd",
    "cargo": "--manifest-path -C --config",
    "go": "-C", "uv": "--directory --project", "poetry": "-C --directory -P --project", "terraform": "",
    "gh": "-R --repo", "aws": "--profile --region --endpoint-url --output",
    "gcloud": "--project --account --configuration", "make": "-C -f -j -I --directory --file --makefile",
    "mvn": "-f -s -P", "gradle": "-p -c -b", "systemctl": "-H -M",
    "pip": "--python --proxy", "svn": "--username --password", "hg": "-R --cwd --config", "ansible": "-i",
    "conda": "",
}  # fmt: skip
HARMLESS_OPTIONS = re.compile(
    r"--?(no-pager|color(=.*)?|no-color|paginate|p|P|literal-pathspecs|no-optional-locks|silent|"
    r"quiet|q|s|v|verbose|no-replace-objects|plain)\Z"
)
Match = Literal["yes", "likely", "maybe", "no"]
"""likely: known words of the rule and of the command agree, the rest is known only when it runs; maybe: none
is known."""


def matching_tool(rules: Iterable[str], tool: str, subject: str) -> str:
    """Return the first rule that matches a tool and what it is about; empty: none does."""
    for rule in rules:
        found = RULE.match(rule.strip())
        if found is None or not fnmatch.fnmatchcase(tool, found["tool"]):
            continue
        if found["pattern"] is None or _glob(found["pattern"]).match(subject):
            return rule
    return ""


def covers_everything(rules: Iterable[str], tool: str) -> str:
    """Return the first rule without a pattern that matches a tool; empty: there is none."""
    return next((rule for rule in rules if "(" not in rule and matching_tool([rule], tool, "")), "")


def command_patterns(rules: Iterable[str]) -> list[tuple[str, str]]:
    """Return the rules for commands with their patterns."""
    found = ((rule, RULE.match(rule.strip())) for rule in rules)
    return [
        (rule, each["pattern"])
        for rule, each in found
        if each is not None and each["pattern"] is not None and fnmatch.fnmatchcase("bash", each["tool"])
    ]


def restricts(rules: Iterable[str], command: SimpleCommand) -> tuple[str, Match]:
    """Return the first deny or ask rule that matches a command, or could, and how surely; empty and `no`: none."""
    patterns = command_patterns(rules)
    if not patterns:
        return "", "no"
    forms = restricted_forms(command)
    lines = [" ".join(map(w.shown, form)) for form in forms]
    behind = [" ".join(map(w.shown, form)) for form in behind_unknown_program(command)]
    is_known = not any(w.is_pattern(word) for form in forms for word in form)
    best: tuple[str, Match] = ("", "no")
    for rule, pattern in patterns:
        regex = command_glob(pattern)
        if any(map(regex.match, lines)) or regex.match(command.source.strip()):
            return rule, "yes"
        if len(_leading(pattern)) > 1 and any(map(regex.match, behind)):
            return rule, "yes"
        if not is_known:
            could = max((_could(pattern, form) for form in forms), key=("no", "maybe", "likely").index)
            if could == "likely" or (could == "maybe" and best[1] == "no"):
                best = rule, could
    return best


def restricts_text(rules: Iterable[str], text: str, *, understood: bool) -> str:
    """Return the first deny or ask rule that matches a whole command as it was written; empty: none does.

    Args:
        understood: False: a rule also matches when all its leading words occur, in order, anywhere in the text.
    """
    for rule, pattern in command_patterns(rules):
        if command_glob(pattern).match(text.strip()):
            return rule
        if not understood and (leading := _leading(pattern)):
            spread = r"[\s\S]*".join(rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in leading)
            if re.search(spread, re.sub(r"['\"\\]", "", text)):
                return rule
    return ""


def allows(rules: Iterable[str], command: SimpleCommand) -> str:
    """Return the first allow rule that covers a command; empty: none does."""
    forms = allowed_forms(command)
    for rule, pattern in command_patterns(rules):
        regex = command_glob(pattern)
        for form, inside in forms:
            if regex.match(" ".join(map(w.shown, form))) and (not inside or _names(pattern, form, inside)):
                return rule
    return ""


def _names(pattern: str, form: Sequence[str], inside: int) -> bool:
    """Return whether a rule for a wrapper spells out the wrapper and the name of what it runs."""
    literal = pattern.split("*", 1)[0].split()
    return len(literal) > inside and literal[: inside + 1] == list(map(w.shown, form[: inside + 1]))


def restricted_forms(command: SimpleCommand) -> list[tuple[str, ...]]:
    """Return the ways to write a command that deny and ask rules are compared with."""
    if not command.words:
        return []
    plain = (command.name, *command.words[1:])
    normal = without_global_options(plain)[0]
    if plain[0].startswith("git-"):  # git's commands are programs, too
        normal = ("git", plain[0][4:], *plain[1:])
    forms = [plain, (plain[0].lower(), *plain[1:]), normal, _options_first(normal), command.words]
    forms += [each for outer, _ in command.outer for each in (outer, (outer[0].rpartition("/")[2], *outer[1:]))]
    return list(dict.fromkeys(forms))


def behind_unknown_program(command: SimpleCommand) -> list[tuple[str, ...]]:
    """Return what a program that is not known to only read its arguments may run: the words from each one on."""
    if not command.words or command.name in READERS or command.name in ONLY_NAMES or command.name in GLOBAL_OPTIONS:
        return []
    words = command.words
    found = [(words[index].rpartition("/")[2], *words[index + 1 :]) for index in range(1, len(words))]
    texts = [words[index + 1] for index, word in enumerate(words[:-1]) if word in _CODE_OPTIONS]
    return found + [tuple(text.removeprefix("shell ").removeprefix("!").split()) for text in texts if " " in text]


def allowed_forms(command: SimpleCommand) -> list[tuple[tuple[str, ...], int]]:
    """Return the ways to write a command that allow rules are compared with, and the words of the wrapper in each."""
    if not command.words:
        return []
    plain = (program(command.words[0]), *command.words[1:])
    normal, harmless = without_global_options(plain)
    forms = [(plain, 0)] + ([(normal, 0)] if harmless else [])
    return forms + [((program(outer[0]), *outer[1:]), inside) for outer, inside in command.outer if inside < len(outer)]


def program(word: str) -> str:
    """Return a program's name without the folder, where that is one of the system's."""
    return word.rpartition("/")[2] if word.startswith(_SYSTEM_FOLDERS) else word


def without_global_options(words: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """Return a command without the options before its subcommand, and whether those change nothing that matters."""
    valued = GLOBAL_OPTIONS.get(words[0])
    if valued is None:
        return words, True
    index, harmless = 1, True
    while index < len(words) and (words[index].startswith("-") or words[index].startswith("+")):
        if words[index] == "--":
            break
        harmless = harmless and HARMLESS_OPTIONS.match(words[index]) is not None
        index += 2 if words[index] in valued.split() else 1
    return (words[0], *words[index:]), harmless


def _options_first(words: tuple[str, ...]) -> tuple[str, ...]:
    head = 2 if words[0] in GLOBAL_OPTIONS and len(words) > 1 else 1
    rest = words[head:]
    options = tuple(word for word in rest if word.startswith("-"))
    return (*words[:head], *options, *(word for word in rest if not word.startswith("-")))


def _could(pattern: str, form: Sequence[str]) -> Match:
    """Return whether a command can turn out to be what a rule's leading words name."""
    leading = _leading(pattern)
    if not leading:
        return "no"
    target, best = " ".join(leading), "no"
    for count in range(1, len(form) + 1):
        line = " ".join(form[:count])
        if len(line.replace(w.ANY, "").replace(w.STAR, "")) > len(target):
            break  # longer than what the rule names, and so is what follows
        if w.can_be(line, target):
            known = any(word in leading or _has_letters(word) for word in form[:count] if word != w.ANY)
            if known:
                return "likely"
            best = "maybe"
    return "maybe" if best == "maybe" else "no"


def _has_letters(word: str) -> bool:
    return w.is_pattern(word) and any(sign.isalnum() for sign in word)


def _leading(pattern: str) -> list[str]:
    """Return the words of a pattern before its first wildcard, whole words only."""
    text = _normal_pattern(pattern)
    head, star, _ = text.partition("*")
    words = head.split()
    return words[:-1] if star and head and not head.endswith(" ") else words


def _normal_pattern(pattern: str) -> str:
    """Return a pattern with `git push:*`, the form of another tool, as `git push *`."""
    return f"{pattern[:-2]} *" if pattern.endswith(":*") else pattern


@functools.lru_cache(maxsize=4096)
def command_glob(pattern: str) -> re.Pattern[str]:
    """Return the pattern of a rule for commands: ` *` at its end also stands for no further words."""
    text = _normal_pattern(pattern.strip())
    if text.endswith(" *"):
        return re.compile(_glob_text(text[:-2]) + r"(?:\s.*)?\Z", re.DOTALL)
    return re.compile(_glob_text(text) + r"\Z", re.DOTALL)


@functools.lru_cache(maxsize=4096)
def _glob(pattern: str) -> re.Pattern[str]:
    """Return a pattern where `*` matches anything and nothing else is special."""
    return re.compile(_glob_text(pattern) + r"\Z", re.DOTALL)


def _glob_text(pattern: str) -> str:
    """Return a regular expression that takes each part where it first occurs, so that it never tries others."""
    first, *rest = map(re.escape, pattern.split("*"))
    return first + "".join(f"(?>.*?{part})" for part in rest[:-1]) + "".join(f".*{part}" for part in rest[-1:])
