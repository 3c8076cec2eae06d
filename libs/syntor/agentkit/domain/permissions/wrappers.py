"""Programs that run other programs, and where in their arguments those stand."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from syntor.agentkit.domain.permissions import words as w
from syntor.agentkit.domain.permissions.command import SimpleCommand
from syntor.agentkit.domain.permissions.running_programs import (
    CODE_OPTIONS,
    CODE_RISK,
    CONTAINER_VALUES,
    CONTAINERS,
    PREFIXES,
    RUNNERS,
    SHELLS,
    interpreter,
)

_MAX_QUOTED = 40  # texts of one piece of code
STDIN_NAMES = frozenset({"/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "-"})
_FIND_EXEC = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
_QUOTED = re.compile(
    r"'((?:[^'\\\n]|\\.)*)'|\"((?:[^\"\\\n]|\\.)*)\"|`([^`\n]*)`|q[qwx]?[{(\[|/!]([^})\]|/!\n]*)[})\]|/!]"
)
_LIST = re.compile(r"[\[(]((?:\s*['\"][^'\"\n]*['\"]\s*,?)+)[\])]")


class Code(msgspec.Struct, frozen=True):
    """A text that is run as code."""

    text: str
    is_shell: bool
    """False: of another language."""
    by: str
    """Program that runs it."""
    arguments: tuple[str, ...] = ()
    """Its `$0`, `$1` and so on, where it is given any."""

    def quoted_texts(self) -> list[str]:
        """Return the quoted texts in the code, and lists of them as lines: what it may pass to a shell."""
        if not CODE_RISK.search(self.text):
            return []
        texts = _quoted_in(self.text)
        lists = [" ".join(_quoted_in(found)) for found in _LIST.findall(self.text)]
        found = (*texts, *lists, " ".join(texts))
        return [text.replace("\\n", "\n") for text in found if " " in text.strip()][:_MAX_QUOTED]


def _quoted_in(code: str) -> list[str]:
    return [found[found.lastindex] for found in _QUOTED.finditer(code) if found.lastindex and found[found.lastindex]]


class Inner(msgspec.Struct, frozen=True):
    """Something a command runs."""

    runs: tuple[str, ...] | Code
    replaces: bool = True
    """Whether the outer command does nothing besides."""
    assignments: tuple[tuple[str, str], ...] = ()
    cwd: str | None = ""
    """Folder it runs in; empty: as the outer command."""


def unwrap(command: SimpleCommand) -> list[Inner]:
    """Return what a command runs besides itself; empty: nothing."""
    name, rest = command.name, list(command.words[1:])
    if not name:
        return []
    if name == "command" and rest and re.match(r"-[pvV]*[vV]", rest[0]):
        return []
    if name == "env":
        return _env(rest)
    if name in (".", "source") and rest[:1] and rest[0] in STDIN_NAMES and command.stdin is not None:
        return [
            Inner(Code(command.stdin.text if command.stdin.text is not None else w.ANY, True, name), replaces=False)
        ]
    if name == "script" and not _option_values(rest, "c"):
        return _prefixed(rest, "-I -O -B -T -m -E -o", 1)
    if name == "su" or name == "script":
        rest = [word.removeprefix("--command=") if word.startswith("--command=") else word for word in rest]
        if any(" " in word for word in rest) and not _option_values(rest, "c"):
            return [Inner(Code(word, True, name)) for word in rest if " " in word]
        return [Inner(Code(value, True, name)) for value in _option_values(rest, "c")]
    if name in ("xargs", "parallel"):
        return _xargs(name, rest, command)
    if name == "flock":
        return [Inner(Code(value, True, name)) for value in _option_values(rest, "c")] or _prefixed(rest, "-w -E", 1)
    if name in ("watch", "tmux", "screen", "at", "batch", "ssh", "eval", "trap", "entr", "parallel", "fc"):
        return _text_runner(name, rest, command)
    if name in PREFIXES:
        options, skipped = PREFIXES[name]
        if name in ("unshare", "nsenter", "chroot") and not _prefixed(rest, options, skipped):
            return []
        return _prefixed(rest, options, skipped)
    if name in RUNNERS and (found := _runner(name, rest)):
        return found
    if name in CONTAINERS:
        return _container(rest)
    if name in SHELLS:
        return _shell(name, rest, command)
    if name in ("find", "fd", "fdfind"):
        return _find(rest)
    if name == "git":
        return _git(rest)
    return _embedded(name, rest, command) + _code(name, rest, command)


def _prefixed(rest: list[str], options: str, skipped: int) -> list[Inner]:
    """Return the command behind options and `skipped` arguments."""
    rest, valued = list(rest), options.split()
    assignments: list[tuple[str, str]] = []
    while rest:
        if rest[0] == "--":
            rest.pop(0)
            break
        if re.match(r"[A-Za-z_]\w*=", rest[0]):
            name, _, value = rest.pop(0).partition("=")
            assignments.append((name, value))
        elif rest[0].startswith("-") and len(rest[0]) > 1:
            option = rest.pop(0)
            if option in valued and rest:
                rest.pop(0)
        else:
            break
    rest = rest[skipped:]
    while rest and (rest[0] == "--" or re.match(r"[A-Za-z_]\w*=", rest[0])):
        word = rest.pop(0)
        if word != "--":
            assignments.append((word.partition("=")[0], word.partition("=")[2]))
    return [Inner(tuple(rest), assignments=tuple(assignments))] if rest else []


def _env(rest: list[str]) -> list[Inner]:
    split = [
        *_option_values(rest, "S"),
        *(word.partition("=")[2] for word in rest if word.startswith("--split-string=")),
    ]
    if split:
        behind = rest[
            next(
                i
                for i, word in enumerate(rest)
                if word.startswith(("-", "--split")) and ("S" in word or "split" in word)
            )
            + 1 :
        ]
        tail = [word for word in behind if word != split[0]]
        return [Inner(Code(" ".join([split[0], *map(_quoted, tail)]), True, "env"))]
    folder = next((value for value in (*_option_values(rest, "C"), *_long_values(rest, "chdir"))), "")
    found = _prefixed([word for word in rest if word != "-"], "-u -C --unset --chdir", 0)
    return [msgspec.structs.replace(each, cwd=folder) for each in found]


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _option_values(rest: Sequence[str], letter: str) -> list[str]:
    """Return the values of a short option, separate or attached, also behind other letters (`-lc`)."""
    values: list[str] = []
    for index, word in enumerate(rest):
        if word == "--":
            break
        if re.match(r"-[A-Za-z0-9]*" + letter, word) and not word.startswith("--"):
            attached = word[word.index(letter) + 1 :]
            separate = list(rest[index + 1 : index + 2])
            values += (
                [attached] if attached and not attached.isalpha() else separate or ([attached] if attached else [])
            )
    return values


def _long_values(rest: Sequence[str], *names: str) -> list[str]:
    values: list[str] = []
    for index, word in enumerate(rest):
        name, equals, value = word.partition("=")
        if name.lstrip("-") in names and name.startswith("-"):
            values += [value] if equals else list(rest[index + 1 : index + 2])
    return values


def _xargs(name: str, rest: list[str], command: SimpleCommand) -> list[Inner]:
    inner = _prefixed(
        rest, "-I -n -P -L -d -E -s -a -i --max-args --max-procs --delimiter --arg-file --replace -j --jobs", 0
    )
    stdin = command.stdin.text if command.stdin is not None else None
    tail = tuple(stdin.split()) if stdin is not None and w.ANY not in stdin else (w.ANY,)
    if not inner:
        return [Inner(Code(stdin if stdin is not None else w.ANY, True, name))] if name == "parallel" else []
    runs = inner[0].runs
    assert not isinstance(runs, Code)
    if ":::" in runs:  # GNU parallel: the arguments, or whole commands, stand behind it
        index = runs.index(":::")
        items = runs[index + 1 :]
        return [Inner((*runs[:index], item) if index else Code(item, True, name)) for item in items]
    if runs[0].rpartition("/")[2] in SHELLS and runs[-1] == "-c":
        return [Inner(Code(stdin if stdin is not None else w.ANY, True, name))]
    if len(runs) == 1 and " " in runs[0] and name == "parallel":
        return [Inner(Code(runs[0], True, name))]
    holes = [*_option_values(rest, "I"), "{}"]
    if any(hole and hole in word for hole in holes for word in runs):
        value = tail[0] if len(tail) == 1 else w.ANY
        return [Inner(tuple(_filled(word, holes, value) for word in runs))]
    return [Inner((*runs, *tail))]


def _filled(word: str, holes: Sequence[str], value: str) -> str:
    for hole in holes:
        word = word.replace(hole, value) if hole else word
    return word


def _text_runner(name: str, rest: list[str], command: SimpleCommand) -> list[Inner]:
    """Programs that pass their words to a shell as one text."""
    match name:
        case "eval":
            return [Inner(Code(" ".join(word for word in rest if word != "--"), True, name))]
        case "trap":
            return (
                [Inner(Code(rest[0], True, name), replaces=False)]
                if len(rest) > 1 and rest[0] not in ("-", "", "-p", "-l")
                else []
            )
        case "watch":
            inner = _prefixed(rest, "-n -d --interval", 0)
            return [Inner(Code(" ".join(each.runs), True, name)) for each in inner if not isinstance(each.runs, Code)]
        case "ssh":
            inner = _prefixed(rest, "-p -i -l -o -F -J -L -R -D -b -c -e -m -O -Q -S -W -w -E -B -I", 1)
            return [
                Inner(Code(" ".join(each.runs), True, name), replaces=False)
                for each in inner
                if not isinstance(each.runs, Code)
            ]
        case "at" | "batch":
            return [
                Inner(
                    Code(command.stdin.text if command.stdin and command.stdin.text is not None else w.ANY, True, name),
                    replaces=False,
                )
            ]
        case "entr":
            return _prefixed(rest, "", 0)
        case _:  # tmux, screen, fc: a command is the text at the end, if any
            texts = [word for word in rest if " " in word]
            return [Inner(Code(text, True, name), replaces=False) for text in texts]


def _runner(name: str, rest: list[str]) -> list[Inner]:
    verbs, valued = RUNNERS[name]
    if calls := ([*_option_values(rest, "c"), *_long_values(rest, "call")] if name == "npx" else []):
        return [Inner(Code(calls[0], True, name))]
    rest = list(rest)
    if verbs:
        while rest and rest[0].startswith("-"):
            if rest.pop(0) in valued.split() and rest:
                rest.pop(0)
        if not rest or rest[0] not in verbs:
            return []
        rest.pop(0)
    inner = _prefixed(rest, valued, 1 if name == "rustup" else 0)
    if not inner or isinstance(inner[0].runs, Code):
        return inner
    program, *arguments = inner[0].runs
    program = program.partition("@")[0] if not program.startswith("@") else program
    return [msgspec.structs.replace(inner[0], runs=(program, *arguments))]


def _container(rest: list[str]) -> list[Inner]:
    rest = list(rest)
    entrypoint = _long_values(rest, "entrypoint")
    skipped = 0
    while rest:
        word = rest.pop(0)
        if word in CONTAINER_VALUES and rest:
            rest.pop(0)
        elif word in ("exec", "run", "debug"):
            skipped = 1
            break
        elif not word.startswith("-") and word not in ("compose", "container"):
            return []
    if not skipped:
        return []
    while rest and rest[0].startswith("-") and rest[0] != "--":
        word = rest.pop(0)
        if word in CONTAINER_VALUES and rest:
            rest.pop(0)
    rest = [word for word in rest[1:] if word != "--"] if rest and rest[0] != "--" else rest[1:]
    found = [Inner(tuple(rest), replaces=False)] if rest else []
    if entry := "".join(entrypoint[:1]):
        found.append(Inner((entry, *rest), replaces=False))
    return found


def _shell(name: str, rest: list[str], command: SimpleCommand) -> list[Inner]:
    codes = [code for code in _option_values(rest, "c") if code != "--"]
    if not codes and "-c" in rest and "--" in rest:
        codes = rest[rest.index("--") + 1 :][:1]
    if codes:
        behind = rest[rest.index(codes[0]) + 1 :] if codes[0] in rest else []
        return [Inner(Code(codes[0], True, name, tuple(behind)))]
    if any(not word.startswith(("-", "+")) for word in script_arguments(rest)):
        return []  # a script; see `programs_of`
    if command.stdin is not None:
        return [
            Inner(Code(command.stdin.text if command.stdin.text is not None else w.ANY, True, name), replaces=False)
        ]
    return []


def script_arguments(rest: Sequence[str]) -> list[str]:
    """Return the arguments of a shell without the values of its options, up to `-s`."""
    left: list[str] = []
    words = iter(word for word in rest if word not in STDIN_NAMES)
    for word in words:
        if word in ("-o", "-O", "+o", "+O", "--rcfile", "--init-file"):
            next(words, "")
        elif word == "-s":
            break
        else:
            left.append(word)
    return left


def _find(rest: list[str]) -> list[Inner]:
    found: list[Inner] = []
    index = 0
    while index < len(rest):
        if rest[index] in _FIND_EXEC or rest[index] in ("-x", "-X", "--exec", "--exec-batch"):
            end = next((i for i in range(index + 1, len(rest)) if rest[i] in (";", "+")), len(rest))
            runs = tuple(word.replace("{}", w.ANY) for word in rest[index + 1 : end])
            if runs:
                found.append(
                    Inner(
                        runs if "-x" not in rest[index][:2] or w.ANY in "".join(runs) else (*runs, w.ANY),
                        replaces=False,
                    )
                )
            index = end
        index += 1
    return found


def _git(rest: list[str]) -> list[Inner]:
    """Return the programs git is told to run: aliases set on its command line, --exec, bisect run, foreach."""
    found: list[Inner] = []
    aliases: dict[str, str] = {}
    index = 0
    while index < len(rest):
        word = rest[index]
        if word in ("-c", "--config-env") and index + 1 < len(rest):
            key, _, value = rest[index + 1].partition("=")
            if key.lower().startswith("alias."):
                aliases[key[6:]] = value
            index += 2
        elif word in ("-C", "--git-dir", "--work-tree", "--namespace", "--exec-path"):
            index += 2
        elif word.startswith("-"):
            index += 1
        else:
            break
    verb, arguments = (rest[index], rest[index + 1 :]) if index < len(rest) else ("", [])
    if verb in aliases:
        text = aliases[verb]
        tail = " ".join(map(_quoted, arguments))
        found.append(
            Inner(Code(f"{text[1:]} {tail}" if text.startswith("!") else f"git {text} {tail}", True, "a git alias"))
        )
    values = _long_values(
        arguments,
        "exec",
        "tree-filter",
        "index-filter",
        "msg-filter",
        "env-filter",
        "commit-filter",
        "open-files-in-pager",
        "extcmd",
    )
    if verb == "rebase":
        values += _option_values(arguments, "x")
    if verb == "filter-branch":
        values += [value for value in arguments if " " in value]
    found += [Inner(Code(value, True, f"git {verb}"), replaces=False) for value in values if value]
    if verb == "bisect" and arguments[:1] == ["run"]:
        found.append(Inner(tuple(arguments[1:]), replaces=False))
    if verb == "submodule" and "foreach" in arguments:
        words = [
            word for word in arguments[arguments.index("foreach") + 1 :] if word not in ("--recursive", "-q", "--quiet")
        ]
        found.append(Inner(Code(" ".join(words), True, "git submodule"), replaces=False))
    return [each for each in found if each.runs]


def _embedded(name: str, rest: list[str], command: SimpleCommand) -> list[Inner]:
    """Return the commands options of other programs run."""
    texts: list[str] = []
    match name:
        case "tar" | "gtar" | "bsdtar":
            actions = [value.partition("exec=")[2] for value in _long_values(rest, "checkpoint-action")]
            texts = [
                *actions,
                *_long_values(
                    rest, "to-command", "use-compress-program", "rsh-command", "info-script", "new-volume-script"
                ),
                *_option_values(rest, "I"),
                *_option_values(rest, "F"),
            ]
        case "rsync" | "scp" | "sftp":
            texts = [*_option_values(rest, "e" if name == "rsync" else "S"), *_long_values(rest, "rsh", "rsync-path")]
            texts += [
                value.partition("=")[2]
                for value in _option_values(rest, "o")
                if value.lower().startswith(("proxycommand", "localcommand"))
            ]
        case "vim" | "vi" | "nvim" | "ex" | "view":
            commands = [
                *(word[1:] for word in rest if word.startswith("+")),
                *_option_values(rest, "c"),
                *_long_values(rest, "cmd"),
            ]
            texts = [text.partition("!")[2] for text in commands if "!" in text]
        case "make" | "gmake":
            texts = [*_long_values(rest, "eval")]
            texts += [word.partition("=")[2] + " -c true" for word in rest if word.startswith("SHELL=")]
        case "sed" | "gsed":
            texts = [found for word in rest for found in re.findall(r"(?:^|[;\n\d$/}])\s*e\s+([^;\n]+)", word)]
        case "sort":
            texts = _long_values(rest, "compress-program")
        case "man":
            texts = [*_option_values(rest, "P"), *_long_values(rest, "pager")]
        case "zip":
            texts = [*_option_values(rest, "TT"), *_long_values(rest, "unzip-command")]
        case "split":
            texts = _long_values(rest, "filter")
        case "crontab":
            texts = [command.stdin.text if command.stdin and command.stdin.text is not None else ""]
        case _:
            pass
    return [Inner(Code(text, True, name), replaces=False) for text in texts if text]


def _code(name: str, rest: list[str], command: SimpleCommand) -> list[Inner]:
    """Return the code an interpreter gets as an option, as its script argument, or on its input."""
    language = interpreter(name)
    texts: list[str] = []
    if language:
        for letter in CODE_OPTIONS[language]:
            texts += _option_values(rest, letter)
        texts += _long_values(rest, "eval", "print", "command", "exec")
        has_script = any(not word.startswith("-") for word in rest)
        if not texts and command.stdin is not None and command.stdin.text and (not has_script or "-" in rest):
            texts = [command.stdin.text]
    elif name in ("awk", "gawk", "mawk", "nawk"):
        texts = [word for word in rest if "system" in word or "|" in word or "getline" in word]
    return [Inner(Code(text, False, name), replaces=False) for text in texts]
