"""What a shell command may do, judged by its text: patterns only, so a sandbox still has to contain it."""

from __future__ import annotations

import re
import shlex

_SYSTEM_PATH = re.compile(r"(?<![\w./-])/(etc|boot|dev/(sd|nvme|vd|mem)|sys|root|var/lib|usr|bin|sbin|lib)\b")
_SECRET_WORD = re.compile(
    r"(?:^|[\s/='\"<(])(\.ssh|\.aws|\.gnupg|\.kube|\.netrc|\.pgpass|\.git-credentials|id_rsa|id_ed25519|\.env)(?=$|[\s/'\")])"
)
_DESTRUCTIVE = (
    (
        re.compile(r"\brm\b(?=[^|;&\n]*\s-\w*[rR])[^|;&\n]*\s(/|~|\$HOME|/\*|\.\.)/?(\s|$|\*)"),
        "removes a whole tree",
    ),
    (re.compile(r"\bmkfs(\.\w+)?\b"), "makes a file system"),
    (re.compile(r"\bdd\b[^|;&\n]*\bof=/dev/"), "overwrites a device"),
    (re.compile(r">\s*/dev/(sd|nvme|vd|hd)"), "overwrites a device"),
    (re.compile(r"\b(shutdown|reboot|halt|poweroff)\b"), "stops the machine"),
    (re.compile(r"\b(sudo|su|doas)\b"), "changes to another user"),
    (re.compile(r":\s*\(\s*\)\s*\{.*:\s*\|\s*:.*\}"), "forks without limit"),
    (re.compile(r"\bchmod\b[^|;&\n]*\s-\w*R[^|;&\n]*\s/(\s|$)"), "changes permissions of the whole system"),
)
_RISKY = (
    (re.compile(r"\brm\b(?=[^|;&\n]*\s-\w*[rR])"), "removes folders"),
    (re.compile(r"\bgit\b[^|;&\n]*\bpush\b[^|;&\n]*(\s--force|\s-f\b|\s\+)"), "overwrites a remote branch"),
    (re.compile(r"\bgit\b[^|;&\n]*\b(reset\s+--hard|clean\s+-\w*f|checkout\s+(--\s+)?\.)"), "discards changes"),
    (re.compile(r"\b(curl|wget)\b[^;&\n]*\|\s*(ba|z|da)?sh\b"), "runs what it downloads"),
    (re.compile(r"\b(eval|exec)\b|\bbase64\b[^;&\n]*\|\s*(ba)?sh"), "hides what it runs"),
)
_CHANGES = re.compile(r"\b(rm|mv|cp|tee|sed\s+-i)\b|>")
_CHAINS = re.compile(r"[;&|`<>\n]|\$\(")
_WITH_SUBCOMMAND = frozenset(
    {"git", "make", "npm", "cargo", "go", "uv", "pip", "docker", "kubectl", "pytest", "python"}
)  # fmt: skip


def forbidden(command: str) -> str:
    """Return why a command is denied whatever the rules say, or an empty text."""
    for pattern, effect in _DESTRUCTIVE:
        if pattern.search(command):
            return f"this command {effect}"
    secret = _SECRET_WORD.search(command)
    return f"{secret[1]} may hold secrets" if secret else ""


def risky(command: str) -> str:
    """Return why a command needs approval in every mode, or an empty text."""
    for pattern, effect in _RISKY:
        if pattern.search(command):
            return f"this command {effect}"
    if _SYSTEM_PATH.search(command) and _CHANGES.search(command):
        return "this command may change system paths"
    return ""


def is_chained(command: str) -> bool:
    """Return whether a command runs, feeds or redirects to another one."""
    return _CHAINS.search(command) is not None


def rule_for(command: str) -> str:
    """Return the rule that allows commands like this one; empty where none should."""
    if is_chained(command) or any(pattern.search(command) for pattern, _ in _RISKY):
        return ""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    kept = words[:2] if words and words[0] in _WITH_SUBCOMMAND else words[:1]
    if kept[1:] == ["-m"]:  # a module of Python is a program of its own
        kept = words[:3]
    return f"bash({' '.join(kept)} *)" if len(words) > len(kept) else f"bash({command.strip()})"
