"""What a simple command may do beyond the files it names: to the system, to services, by running what is not seen."""

from __future__ import annotations

import re

from syntor.agentkit.domain.permissions import words as w
from syntor.agentkit.domain.permissions.command import SimpleCommand
from syntor.agentkit.domain.permissions.file_uses import file_uses, has_flag, operands
from syntor.agentkit.domain.permissions.files import Files, absolute, inside
from syntor.agentkit.domain.permissions.git_hazards import git_protected, git_risk
from syntor.agentkit.domain.permissions.path_hazards import forbidden_path, path_risk, protected_path
from syntor.agentkit.domain.permissions.programs import programs_of
from syntor.agentkit.domain.permissions.running_programs import CODE_RISK, RUNNERS, SHELLS, interpreter
from syntor.agentkit.domain.permissions.service_hazards import service_risk
from syntor.agentkit.domain.permissions.wrappers import script_arguments

_AS_OTHERS = frozenset({"sudo", "su", "doas", "pkexec", "run0", "runuser"})
_STOPS = frozenset({"shutdown", "reboot", "halt", "poweroff"})
_SYSTEM_PROGRAMS = frozenset(
    [
        "mount",
        "umount",
        "swapon",
        "swapoff",
        "fdisk",
        "parted",
        "sfdisk",
        "wipefs",
        "losetup",
        "cryptsetup",
        "lvremove",
        "vgremove",
        "pvremove",
        "mdadm",
        "iptables",
        "nft",
        "ufw",
        "firewall-cmd",
        "ip6tables",
        "modprobe",
        "insmod",
        "rmmod",
        "sysctl",
        "useradd",
        "userdel",
        "usermod",
        "groupadd",
        "passwd",
        "chpasswd",
        "visudo",
        "chsh",
        "hostnamectl",
        "timedatectl",
        "setenforce",
        "apt",
        "apt-get",
        "aptitude",
        "dpkg",
        "yum",
        "dnf",
        "rpm",
        "pacman",
        "zypper",
        "apk",
        "emerge",
        "brew",
        "port",
        "snap",
        "flatpak",
        "nix-env",
        "launchctl",
        "systemctl",
        "service",
        "initctl",
        "rc-update",
        "update-rc.d",
        "update-alternatives",
        "crontab",
        "at",
        "batch",
        "ldconfig",
        "setcap",
        "chroot",
        "unshare",
        "nsenter",
        "bwrap",
        "insmod",
        "killall",
        "pkill",
        "telinit",
        "init",
    ]
)
_READS_ONLY = re.compile(
    r"(list|show|search|info|status|is-active|is-enabled|policy|--version|-l|-L|-q|-s|--list|cat|"
    r"deps|leaves|outdated|config|doctor|files|view|--help|-h|-V)\Z"
)
_REMOTE = frozenset(["ssh", "scp", "sftp", "rsync", "ftp", "lftp", "nc", "ncat", "netcat", "socat", "telnet", "mosh"])
_SCHEDULES = frozenset(["crontab", "at", "batch"])
_VARIABLES = re.compile(
    r"(LD_|DYLD_|BASH_|GIT_(SSH|EXTERNAL|EDITOR|PAGER|ASKPASS|SEQUENCE|PROXY|EXEC|CONFIG|TEMPLATE|"
    r"DIR|WORK|INDEX|ALTERNATE|OBJECT)|PERL5|PERLLIB|RUBY(OPT|LIB)|NODE_(OPTIONS|PATH)|"
    r"PYTHON(STARTUP|PATH|HOME|INSPECT|BREAKPOINT|USERBASE|EXECUTABLE)|JAVA_TOOL|_JAVA|MAVEN_OPTS|"
    r"GRADLE_OPTS|JDK_JAVA|NPM_CONFIG_(SCRIPT|NODE|SHELL)|npm_config_(script|node|shell)|LESS(OPEN|"
    r"CLOSE)|MANPAGER|"
    r"(PATH|ENV|SHELL|IFS|EDITOR|VISUAL|PAGER|BROWSER|PROMPT_COMMAND|PS[0-4]|SHELLOPTS|CDPATH|HOME|"
    r"SSH_ASKPASS|SUDO_ASKPASS|RUSTC_WRAPPER|RUSTC|CC|CXX|MAKEFLAGS|GOFLAGS|CARGO_HOME|GLOBIGNORE|"
    r"FPATH|TMPDIR|XDG_CONFIG_HOME|DOCKER_HOST|KUBECONFIG|HTTPS?_PROXY|ALL_PROXY)$)"
)
_HARMLESS_VALUES = re.compile(r"(cat|less|true|vi|vim|nano|)\Z|(utf|UTF)-?8")
_FETCHES = frozenset({"npx", "pnpx", "bunx", "uvx", "pipx"})
_AWK_RISK = re.compile(r"\bsystem\s*\(|\|\s*(&\s*)?[\"g]|>\s*[\"$a-zA-Z(]|@load|/inet/")
_SED_RISK = re.compile(
    r"(?:^|[;{}\n]|[\d$/])\s*[eWwRr](?:\s|$)|s([^\w\s\\])(?:(?!\1).|\\.)*\1(?:(?!\1).|\\.)*\1[gpImM0-9]*[ew]"
)


def forbidden(command: SimpleCommand, files: Files) -> str:
    """Return why a command is denied whatever the rules say; empty: it is not."""
    name = command.name
    if (
        name in _STOPS
        or (name == "systemctl" and any(word in _STOPS for word in command.words))
        or (name in ("init", "telinit") and command.words[1:2] in (("0",), ("6",)))
    ):
        return "stops the machine"
    if re.match(r"mkfs(\.\w+)?\Z|mke2fs\Z|mkswap\Z|wipefs\Z", name) and any(
        word.startswith("/dev/") for word in command.words
    ):
        return "makes a file system"
    return forbidden_path(command, files)


def protected(command: SimpleCommand, files: Files) -> str:
    """Return why a command requires approval in every mode, and whatever wide rule allows it; empty: it does not."""
    if command.name in _AS_OTHERS:
        return "changes to another user"
    if command.name in _SCHEDULES and not has_flag(command.words[1:], "l"):
        return "runs something later"
    if command.name == "git" and (reason := git_protected(command)):
        return reason
    if command.name in ("pre-commit", "husky", "lefthook", "direnv", "mise", "syntor") and (
        reason := service_risk(command)
    ):
        return reason
    return protected_path(command, files)


def risk(command: SimpleCommand, files: Files, downloaded: frozenset[str]) -> str:
    """Return why a command requires approval in mode auto; empty: it does not.

    Args:
        downloaded: absolute paths of files that commands before it downloaded.
    """
    if not command.words:
        return variables_risk(command) or path_risk(command, files)
    if w.is_pattern(command.words[0]):
        return "its name is known only when it runs"
    name, rest = command.name, command.words[1:]
    reason = variables_risk(command) or _unseen(command, files, downloaded) or service_risk(command)
    if reason:
        return reason
    if name == "git":
        return git_risk(
            command, lambda word: bool((path := absolute(files, command.cwd, word)) and files.kind(path))
        ) or path_risk(command, files)
    if name == "find" and any(word in ("-delete", "-fprint", "-fprintf", "-fls", "-fprint0") for word in rest):
        return "removes what it finds" if "-delete" in rest else "writes a file"
    if name in ("find", "fd", "xargs") and any(word in ("-ok", "-okdir") for word in rest):
        return "runs a command on what it finds"
    if name in _SYSTEM_PROGRAMS and not (rest and any(_READS_ONLY.match(word) for word in rest[:2])):
        return "changes the system"
    if re.match(r"mkfs(\.\w+)?\Z|mke2fs\Z|mkswap\Z", name):
        return "makes a file system"
    if name in _REMOTE and not (name in ("rsync", "scp") and not any(":" in word for word in rest)):
        return "reaches another machine"
    if name == "dd" or (name == "truncate" and any(file_uses(command))):
        found = path_risk(command, files)
        return found or ("overwrites a file" if name == "truncate" else "")
    if name == "rm" and has_flag(rest, "rR", "--recursive") and any(w.ANY in word for word in rest):
        return "removes folders"
    return path_risk(command, files)


def variables_risk(command: SimpleCommand) -> str:
    """Return why the variables set for a command may change what it runs; empty: they do not."""
    pairs = list(command.assignments)
    if command.name in ("export", "declare", "local", "readonly", "typeset"):
        pairs += [(word.partition("=")[0], word.partition("=")[2]) for word in command.words[1:] if "=" in word]
    for name, value in pairs:
        if _VARIABLES.match(name) and not _HARMLESS_VALUES.match(value) and not (name.endswith("PROXY") and not value):
            if name in (
                "PYTHONPATH",
                "NODE_PATH",
                "GOFLAGS",
                "CC",
                "CXX",
                "CDPATH",
                "TMPDIR",
                "MAKEFLAGS",
            ) and not value.startswith(("/tmp", "~")):
                continue
            if name == "NODE_OPTIONS" and "require" not in value and "import" not in value and "loader" not in value:
                continue
            return f"sets {name}, which changes what programs run"
    return ""


def _unseen(command: SimpleCommand, files: Files, downloaded: frozenset[str]) -> str:
    """Return what a command runs that is neither in it nor in the workspace."""
    name, rest = command.name, list(command.words[1:])
    for word in programs_of(command):
        path = absolute(files, command.cwd, word)
        if path in downloaded:
            return "runs what it downloads"
        if word.startswith("/dev/fd/"):
            return "runs what another command prints"
        if (
            path is not None
            and inside(files, path) is None
            and word.startswith(("/tmp", "/var/tmp", "/dev/shm", "~", ".."))
        ):
            return f"runs {word}, which is outside the workspace"
    language = interpreter(name)
    if language or name in SHELLS:
        piped = command.stdin is not None and command.stdin.text is None and command.stdin.source != "a file"
        given = script_arguments(rest) if name in SHELLS else rest
        if piped and all(word.startswith("-") and word in ("-", "-s", "-u", "-x", "-e", "-l", "--") for word in given):
            return f"runs what `{command.stdin.source[:80] if command.stdin else ''}` prints"
    if language and any(CODE_RISK.search(text) for text in _codes(command)):
        return f"its {language} code may run programs or change files"
    if name in ("awk", "gawk", "mawk", "nawk") and any(
        _AWK_RISK.search(word) for word in rest if not word.startswith("-")
    ):
        return "its awk program runs programs or writes files"
    if name in ("sed", "gsed") and any(_SED_RISK.search(word) for word in _sed_scripts(rest)):
        return "its sed script runs programs or writes files"
    if name in ("vim", "vi", "nvim", "ex", "ed", "emacs") and any(
        "!" in word or word.startswith(("+", "-c", "--eval")) for word in (*rest, _typed(command))
    ):
        return "its editor commands may run programs"
    if (
        name in ("pip", "pip3")
        and rest[:1] == ["install"]
        and any(
            "://" in word or word.startswith("git+") or word in ("-i", "--index-url", "--extra-index-url")
            for word in rest
        )
    ):
        return "runs what it downloads"
    if name in ("npm", "yarn", "pnpm", "bun", "npx") and any(
        re.match(r"(https?|git\+?\w*|ssh|github):", word) for word in rest
    ):
        return "runs what it downloads"
    if name in ("deno", "go") and any(
        "://" in word or re.search(r"\.\w+/.*@", word) for word in rest if rest[:1] == ["run"]
    ):
        return "runs what it downloads"
    return _outside_runner(command, files) or _uploads(command) or _container(command, files)


def _typed(command: SimpleCommand) -> str:
    """Return the text a command reads from its standard input, where it is known."""
    return command.stdin.text or "" if command.stdin is not None else ""


def _sed_scripts(rest: list[str]) -> list[str]:
    scripts = [rest[index + 1] for index, word in enumerate(rest[:-1]) if word in ("-e", "--expression")]
    return scripts or operands("sed", rest)[:1]


def _codes(command: SimpleCommand) -> list[str]:
    codes = [word for word in command.words[1:] if " " in word or "(" in word or ";" in word or "`" in word]
    if command.stdin is not None and command.stdin.text:
        codes.append(command.stdin.text)
    return codes


def runner_risk(command: SimpleCommand, files: Files) -> str:
    """Return whether a runner such as npx fetches a program before it runs it."""
    rest = [word for word in command.words[1:] if not word.startswith("-")]
    fetching = command.name in _FETCHES or (
        command.name in RUNNERS
        and rest[:1] in (["dlx"], ["x"], ["exec"])
        and command.name in ("npm", "pnpm", "yarn", "bun")
    )
    if not fetching:
        return ""
    program = next((word for word in rest if word not in ("dlx", "x", "exec", "run")), "")
    base = program.partition("@")[0] if not program.startswith("@") else program
    path = absolute(files, command.cwd, f"node_modules/.bin/{base}")
    if command.name in ("uvx", "pipx") or not base or path is None or not files.kind(path):
        return "runs what it downloads" if base else ""
    return ""


def _outside_runner(command: SimpleCommand, files: Files) -> str:
    return runner_risk(command, files) if command.name in RUNNERS else ""


def _uploads(command: SimpleCommand) -> str:
    if command.name not in ("curl", "wget", "http", "https"):
        return ""
    hosts = [
        word
        for word in command.words[1:]
        if re.match(r"(https?://)?[\w.-]+(:\d+)?(/|$)", word) and not word.startswith("-")
    ]
    local = bool(hosts) and all(
        re.match(r"(https?://)?(localhost|127\.|\[::1\]|0\.0\.0\.0)", word)
        for word in hosts
        if "://" in word or "localhost" in word or "127." in word
    )
    sends = any(use.how == "read" for use in file_uses(command)) or "--post-file" in command.words
    return "sends a file away" if sends and not local else ""


def _container(command: SimpleCommand, files: Files) -> str:
    if command.name not in ("docker", "podman", "nerdctl"):
        return ""
    line = " ".join(command.words)
    if re.search(
        r"--privileged|--(pid|net|network|ipc|userns|uts)[= ]host|docker\.sock|--cap-add|--device|--security-opt", line
    ):
        return "runs a container with rights on this machine"
    mounts = [command.words[i + 1] for i, word in enumerate(command.words[:-1]) if word in ("-v", "--volume")]
    mounts += [word.partition("=")[2] for word in command.words if word.startswith("--volume=")]
    mounts += [found for word in command.words for found in re.findall(r"(?:source|src)=([^,]+)", word)]
    for mount in mounts:
        path = (
            absolute(files, command.cwd, mount.partition(":")[0]) if mount.startswith(("/", ".", "~")) else files.root
        )
        if path is None or inside(files, path) is None:
            return f"gives a container {w.shown(mount)}, which is outside the workspace"
    return ""
