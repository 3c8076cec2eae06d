"""Which files a simple command reads, writes, removes or names, by its program's arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from syntor.agentkit.domain.permissions.command import SimpleCommand
from syntor.agentkit.domain.permissions.running_programs import SHELLS, interpreter

How = Literal["read", "overwrite", "append", "edit", "remove", "move", "attributes", "into", "name", "mention"]
"""into: written to, or into where it is a folder; name: an argument of a program that may read it; mention: a program
that looks at names and states only."""


class FileUse(msgspec.Struct, frozen=True):
    """One file of a command."""

    how: How
    word: str
    sources: tuple[str, ...] = ()
    """Of `into`: what is copied or moved there."""


WRITES: frozenset[How] = frozenset({"overwrite", "append", "edit", "remove", "move", "attributes", "into"})
READERS = frozenset(
    [
        "cat",
        "less",
        "more",
        "head",
        "tail",
        "tac",
        "nl",
        "bat",
        "batcat",
        "xxd",
        "od",
        "hexdump",
        "hd",
        "strings",
        "base64",
        "base32",
        "sort",
        "uniq",
        "cut",
        "tr",
        "grep",
        "egrep",
        "fgrep",
        "rg",
        "ag",
        "ack",
        "zgrep",
        "awk",
        "gawk",
        "mawk",
        "nawk",
        "sed",
        "gsed",
        "diff",
        "sdiff",
        "cmp",
        "comm",
        "paste",
        "join",
        "fold",
        "fmt",
        "rev",
        "jq",
        "yq",
        "column",
        "pr",
        "expand",
        "tee",
        "zcat",
        "gunzip",
        "bzcat",
        "xzcat",
        "openssl",
        "scp",
        "rsync",
        "nc",
        "curl",
        "wget",
        "cp",
        "install",
        "dd",
        "tar",
        "zip",
        "gzip",
        "7z",
        "gpg",
        "split",
        "csplit",
        "look",
        "view",
        "vim",
        "vi",
        "nano",
        "emacs",
        "ed",
        "ex",
        "pandoc",
        "iconv",
        "dos2unix",
        "printenv",
        "nano",
        "envsubst",
        "enscript",
        "xsel",
        "xclip",
        "pbcopy",
        "mail",
        "sendmail",
        "ftp",
        "sftp",
        "lftp",
    ]
)
ONLY_NAMES = frozenset(
    [
        "ls",
        "ll",
        "stat",
        "test",
        "[",
        "[[",
        "file",
        "du",
        "wc",
        "basename",
        "dirname",
        "realpath",
        "readlink",
        "touch",
        "mkdir",
        "find",
        "fd",
        "tree",
        "echo",
        "printf",
        "cd",
        "pushd",
        "rm",
        "unlink",
        "shred",
        "chmod",
        "chown",
        "chgrp",
        "which",
        "export",
        "declare",
        "local",
        "true",
        "false",
        ":",
        "git",
        "sha256sum",
        "md5sum",
        "sha1sum",
        "cksum",
    ]
)
_TEXT_ONLY = frozenset(
    {
        "echo",
        "printf",
        "true",
        "false",
        ":",
        "export",
        "declare",
        "local",
        "readonly",
        "unset",
        "kill",
        "sleep",
        "exit",
        "return",
        "set",
        "expr",
        "seq",
        "date",
    }
)
_PATTERN_FIRST = frozenset(
    [
        "grep",
        "egrep",
        "fgrep",
        "rg",
        "ag",
        "ack",
        "zgrep",
        "sed",
        "gsed",
        "awk",
        "gawk",
        "mawk",
        "nawk",
        "jq",
        "yq",
        "tr",
        "perl",
    ]
)
_VALUED = {
    "head": "-n -c", "tail": "-n -c", "grep": "-A -B -C -m --include --exclude --exclude-dir",
    "rg": "-A -B -C -m -g -t -T --glob --type", "cut": "-d -f -c -b",
    "sort": "-k -t -S -T", "curl":
        "-H -X -A -e -u -m -w -x -b --header --request --max-time --connect-timeout --retry "
        "--user-agent --write-out --user",
    "wget": "-U -t -T --header --tries --timeout", "cp": "-S", "mv": "-S", "install": "-m -o -g",
    "tar": "-C --directory --exclude --transform",
    "jq": "--arg --argjson --indent", "awk": "-F -v", "find": "", "touch": "-d -t -r", "split": "-b -l -n -a",
    "truncate": "-s -r", "chmod": "", "rsync": "-e --exclude --include",
}  # fmt: skip


def file_uses(command: SimpleCommand) -> list[FileUse]:
    """Return the files a command uses; one it names twice may be listed twice."""
    uses = [
        FileUse("append" if each.operator.endswith(">>") else "overwrite" if each.writes else "read", each.target)
        for each in command.redirections
        if not _is_descriptor(each.operator, each.target)
    ]
    if command.words and not command.is_wrapper:
        uses += _of_program(command.name, list(command.words[1:]))
    return uses


def _is_descriptor(operator: str, target: str) -> bool:
    return operator.endswith("&") and re.fullmatch(r"\d+-?|-", target) is not None


def operands(name: str, rest: Sequence[str]) -> list[str]:
    """Return the arguments that are no options and no values of options."""
    valued = _VALUED.get(name, "").split()
    found: list[str] = []
    words = iter(rest)
    for word in words:
        if word == "--":
            return [*found, *words]
        if word.startswith("-") and len(word) > 1:
            if word in valued:
                next(words, "")
        else:
            found.append(word)
    return found


def option_value(rest: Sequence[str], *names: str) -> str:
    """Return the value of the first of some options; empty: it is not given."""
    for index, word in enumerate(rest):
        for name in names:
            if word == name:
                return rest[index + 1] if index + 1 < len(rest) else ""
            if name.startswith("--") and word.startswith(f"{name}="):
                return word[len(name) + 1 :]
            if not name.startswith("--") and len(name) == 2 and word.startswith(name) and len(word) > 2:
                return word[2:]
    return ""


def has_flag(rest: Sequence[str], letters: str, *longs: str) -> bool:
    """Return whether one of some options is among the arguments, also among joined letters."""
    for word in rest:
        if word == "--":
            return False
        if word.startswith("--"):
            if word.partition("=")[0] in longs:
                return True
        elif word.startswith("-") and any(letter in word[1:] for letter in letters):
            return True
    return False


def _of_program(name: str, rest: list[str]) -> Iterator[FileUse]:
    match name:
        case "cp" | "install" | "rsync" | "scp" | "ln" | "mv":
            yield from _copied(name, rest)
        case "tee" | "sponge":
            for word in operands(name, rest):
                yield FileUse("append" if has_flag(rest, "a", "--append") else "overwrite", word)
        case "rm" | "unlink" | "shred" | "rmdir" | "trash" | "srm":
            for word in operands(name, rest):
                yield FileUse("remove", word)
        case "truncate":
            for word in operands(name, rest):
                yield FileUse("overwrite", word)
        case "dd":
            for word in rest:
                key, equals, value = word.partition("=")
                if equals and key in ("if", "of"):
                    yield FileUse("read" if key == "if" else "overwrite", value)
        case "chmod" | "chown" | "chgrp" | "setfacl" | "chattr":
            for word in operands(name, rest)[1:]:
                yield FileUse("attributes", word)
        case "touch" | "mkdir" | "mkfifo":
            for word in operands(name, rest):
                yield FileUse("append", word)
        case "sed" | "gsed" | "perl" | "ruby" if _edits_in_place(name, rest):
            files = operands(name, [word for word in rest if not word.startswith("-i")])
            has_script = any(word in ("-e", "-f", "--expression") or re.match(r"-[a-z]*e$", word) for word in rest)
            for word in files if has_script else files[1:]:
                yield FileUse("edit", word)
        case "patch":
            for word in operands(name, rest)[:1]:
                yield FileUse("edit", word)
        case "curl" | "wget" | "http" | "httpie":
            yield from _transferred(name, rest)
        case "sort" if output := option_value(rest, "-o", "--output"):
            yield FileUse("overwrite", output)
            yield from (FileUse("read", word) for word in operands(name, rest) if word != output)
        case "tar" | "zip" | "7z" | "unzip":
            yield from _archived(name, rest)
        case "git":
            pass  # see git_hazards
        case _ if name in _TEXT_ONLY:
            pass
        case _:
            yield from _arguments(name, rest)


def _edits_in_place(name: str, rest: Sequence[str]) -> bool:
    if name in ("sed", "gsed"):
        return any(re.match(r"-[nrEsz]*i|--in-place", word) for word in rest)
    return any(re.match(r"-[a-zA-Z0-9]*i", word) and not word.startswith("-I") for word in rest[:3])


def _copied(name: str, rest: list[str]) -> Iterator[FileUse]:
    folder = option_value(rest, "-t", "--target-directory") if name in ("cp", "mv", "install", "ln") else ""
    names = [word for word in operands(name, rest) if word != folder]
    if name == "install" and has_flag(rest, "d", "--directory"):
        return
    sources, target = (names, folder) if folder else (names[:-1], names[-1] if len(names) > 1 else "")
    if name == "ln":
        if len(names) == 1:
            sources, target = names, "."
        yield from (FileUse("name", word) for word in sources)
    else:
        yield from (FileUse("move" if name == "mv" else "read", word) for word in sources)
    if target and not (name in ("scp", "rsync") and ":" in target):
        yield FileUse(
            "into" if not has_flag(rest, "n", "--no-clobber") or name in ("rsync", "scp") else "append",
            target,
            tuple(sources),
        )


def _transferred(name: str, rest: list[str]) -> Iterator[FileUse]:
    for option in ("-o", "--output", "-O", "--output-document"):
        value = option_value(rest, option) if not (name == "curl" and option == "-O") else ""
        if value and value != "-":
            yield FileUse("overwrite", value)
    for index, word in enumerate(rest):
        before = rest[index - 1] if index else ""
        if before in (
            "-T",
            "--upload-file",
            "-K",
            "--config",
            "--post-file",
            "--body-file",
            "-E",
            "--cert",
            "--key",
            "--netrc-file",
        ):
            yield FileUse("read", word)
        elif found := re.match(r"(?:--?[a-z-]+=?)?(?:[^@=]*=)?[@<]([^;]+)", word):
            yield FileUse("read", found[1])
        elif word.startswith("file://"):
            yield FileUse("read", word[7:])


def _archived(name: str, rest: list[str]) -> Iterator[FileUse]:
    flags = "".join(word.lstrip("-") for word in rest[:1] if not word.startswith("--"))
    names = operands(name, rest[1:] if name == "tar" else rest)
    if name == "tar":
        archive = option_value(rest[1:], "-f", "--file") or (names[0] if "f" in flags and names else "")
        if "c" in flags or "--create" in rest:
            yield FileUse("overwrite", archive) if archive not in ("", "-") else FileUse("mention", ".")
            yield from (FileUse("read", word) for word in names if word != archive)
        if folder := option_value(rest, "-C", "--directory"):
            yield FileUse("append", folder)
    elif name == "zip" and names:
        yield FileUse("append", names[0])
        yield from (FileUse("read", word) for word in names[1:])
    elif name == "unzip" and (folder := option_value(rest, "-d")):
        yield FileUse("append", folder)


def _arguments(name: str, rest: list[str]) -> Iterator[FileUse]:
    how: How = "read" if name in READERS else "mention" if name in ONLY_NAMES else "name"
    if name in SHELLS or interpreter(name):
        how = "name"
        rest = [word for word in rest if "\n" not in word and " " not in word]
    words = operands(name, rest)
    if name in _PATTERN_FIRST and not any(word in ("-e", "-f", "--regexp", "--file", "--expression") for word in rest):
        words = words[1:]
    for word in words:
        yield FileUse(how, word)
    for word in rest:  # --env-file=.env, -I/usr/include
        if word.startswith("-") and (found := re.match(r"--?[\w-]+=(.+)", word)):
            yield FileUse(how, found[1])
    if how == "name":
        index = {word: position for position, word in enumerate(rest)}
        yield from (
            FileUse("name", rest[index[word] + 1])
            for word in ("--env-file", "-v", "--volume", "--config", "-f")
            if word in index and index[word] + 1 < len(rest)
        )
