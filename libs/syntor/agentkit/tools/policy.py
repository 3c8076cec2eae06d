"""Decides about a tool call before it runs: allow, require_approval or deny.

What can do harm that no approval mends is denied first, whatever anybody allows: paths outside the workspace, files
that may hold secrets, commands that destroy a system. Then rules decide (deny, ask, allow), then the mode.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from syntor.agentkit.tools.sandbox import SECRET_FOLDERS
from syntor.agentkit.tools.tool import Tool
from syntor.contracts.permissions import DEFAULT_MODE, RULE
from syntor.contracts.run.v1 import Permissions

ALLOW, REQUIRE_APPROVAL, DENY = "allow", "require_approval", "deny"
SECRET_PATTERNS = (
    ".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", "id_ecdsa*", ".netrc", ".pgpass",
    ".npmrc", ".pypirc", "credentials", "credentials.json", "secrets.*", "*.kdbx", ".htpasswd", ".git-credentials",
)  # fmt: skip
_NOT_SECRET = frozenset({".env.example", ".env.sample", ".env.template"})
_SYSTEM_PATH = re.compile(r"(?<![\w./-])/(etc|boot|dev/(sd|nvme|vd|mem)|sys|root|var/lib|usr|bin|sbin|lib)\b")
_SECRET_WORD = re.compile(
    r"(?:^|[\s/='\"<(])(\.ssh|\.aws|\.gnupg|\.kube|\.netrc|\.pgpass|\.git-credentials|id_rsa|id_ed25519|\.env)(?=$|[\s/'\")])"
)
_DESTROYS = (
    (
        re.compile(r"\brm\b(?=[^|;&\n]*\s-\w*[rR])[^|;&\n]*\s(/|~|\$HOME|/\*|\.\.)/?(\s|$|\*)"),
        "removes a whole tree",
    ),
    (re.compile(r"\bmkfs(\.\w+)?\b"), "makes a file system"),
    (re.compile(r"\bdd\b[^|;&\n]*\bof=/dev/"), "overwrites a device"),
    (re.compile(r">\s*/dev/(sd|nvme|vd|hd)"), "overwrites a device"),
    (re.compile(r"\b(shutdown|reboot|halt|poweroff)\b"), "stops the machine"),
    (re.compile(r"\b(sudo|su|doas)\b"), "takes other rights"),
    (re.compile(r":\s*\(\s*\)\s*\{.*:\s*\|\s*:.*\}"), "multiplies without end"),
    (re.compile(r"\bchmod\b[^|;&\n]*\s-\w*R[^|;&\n]*\s/(\s|$)"), "changes rights of the whole system"),
)
_DANGEROUS = (
    (re.compile(r"\brm\b(?=[^|;&\n]*\s-\w*[rR])"), "removes folders"),
    (re.compile(r"\bgit\b[^|;&\n]*\bpush\b[^|;&\n]*(\s--force|\s-f\b|\s\+)"), "overwrites a remote branch"),
    (re.compile(r"\bgit\b[^|;&\n]*\b(reset\s+--hard|clean\s+-\w*f|checkout\s+(--\s+)?\.)"), "throws changes away"),
    (re.compile(r"\b(curl|wget)\b[^;&\n]*\|\s*(ba|z|da)?sh\b"), "runs what it downloads"),
    (re.compile(r"\b(eval|exec)\b|\bbase64\b[^;&\n]*\|\s*(ba)?sh"), "hides what it runs"),
)
_CHANGES = re.compile(r"\b(rm|mv|cp|tee|sed\s+-i)\b|>")
_JOINS = re.compile(r"[;&|`<>\n]|\$\(")


class Verdict(msgspec.Struct, frozen=True):
    """What the policy says to a call."""

    decision: str
    """allow, require_approval or deny."""
    reason: str
    """Rule that decided, for people and for the model."""
    rule: str = ""
    """Rule that would allow calls like this one; empty: none should."""


def is_secret(path: Path) -> bool:
    """Tell whether a file by its name may hold credentials."""
    name = path.name.lower()
    named = name not in _NOT_SECRET and any(fnmatch.fnmatch(name, pattern) for pattern in SECRET_PATTERNS)
    return named or any(part in SECRET_FOLDERS for part in path.parts)


def resolve(workspace: Path, path: str) -> Path | None:
    """Return where a path really is, links followed; None when that is outside the workspace."""
    try:
        real = (workspace / path).resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    return real if real.is_relative_to(workspace.resolve()) else None


def decide(
    tool: Tool, arguments: Any, workspace: Path | None, permissions: Permissions, granted: Sequence[str] = ()
) -> Verdict:
    """Judge a call.

    Args:
        granted: rules people approved for the session.
    """
    if tool.effect == "team":
        return _by_rules(tool, arguments, permissions, granted) or Verdict(ALLOW, "asks another agent")
    if workspace is None:
        return Verdict(DENY, "this run has no workspace")
    if (fault := _fault(tool, arguments, workspace)) is not None:
        return Verdict(DENY, fault)
    return _by_rules(tool, arguments, permissions, granted) or _by_mode(
        tool, arguments, permissions.mode or DEFAULT_MODE
    )


def _fault(tool: Tool, arguments: Any, workspace: Path) -> str | None:
    """Say why nobody can allow a call, or None."""
    for path in tool.paths(arguments):
        real = resolve(workspace, path)
        if real is None:
            return f"{path} is outside the workspace"
        if is_secret(real) or is_secret(Path(path)):
            return f"{path} may hold secrets"
        if tool.effect == "write" and ".git" in real.relative_to(workspace.resolve()).parts:
            return f"{path} belongs to git; use the git tools"
    if tool.name == "bash":
        command = tool.subject(arguments)
        for pattern, what in _DESTROYS:
            if pattern.search(command):
                return f"this command {what}"
        if secret := _SECRET_WORD.search(command):
            return f"{secret[1]} may hold secrets"
    return None


def _by_rules(tool: Tool, arguments: Any, permissions: Permissions, granted: Sequence[str]) -> Verdict | None:
    """Return what the first rule that matches says; deny before ask before allow."""
    subject = tool.subject(arguments)
    if rule := _matching(permissions.deny, tool, subject):
        return Verdict(DENY, f"rule {rule} denies it")
    if permissions.mode == "plan" and tool.effect not in ("read", "team"):
        return Verdict(DENY, "plan mode changes nothing; describe what you would do")
    if rule := _matching(permissions.ask, tool, subject):
        return Verdict(REQUIRE_APPROVAL, f"rule {rule} asks", _offered(tool, subject))
    if rule := _matching((*permissions.allow, *granted), tool, subject):
        if tool.name == "bash" and "(" in rule and _JOINS.search(subject):
            return None  # a rule for one command does not allow what is chained to it
        return Verdict(ALLOW, f"rule {rule} allows it")
    return None


def _by_mode(tool: Tool, arguments: Any, mode: str) -> Verdict:
    if tool.effect == "read":
        return Verdict(ALLOW, "reads inside the workspace")
    subject = tool.subject(arguments)
    rule = _offered(tool, subject)
    if mode == "auto":
        for pattern, what in _DANGEROUS:
            if tool.name == "bash" and pattern.search(subject):
                return Verdict(REQUIRE_APPROVAL, f"this command {what}")
        if tool.name == "bash" and _SYSTEM_PATH.search(subject) and _CHANGES.search(subject):
            return Verdict(REQUIRE_APPROVAL, "this command may change system paths")
        return Verdict(ALLOW, "mode auto")
    if mode == "auto-edit" and tool.effect == "write":
        return Verdict(ALLOW, "mode auto-edit")
    return Verdict(REQUIRE_APPROVAL, f"mode {mode} asks before it {_DOES[tool.effect]}", rule)


_DOES = {"write": "changes files", "execute": "runs commands", "network": "uses the network"}


def _matching(rules: Sequence[str], tool: Tool, subject: str) -> str:
    """Return the first rule that matches, or an empty text."""
    for rule in rules:
        match = RULE.match(rule.strip())
        if match is None or not fnmatch.fnmatchcase(tool.name, match["tool"]):
            continue
        if match["pattern"] is None or _glob(match["pattern"]).match(subject):
            return rule
    return ""


def _glob(pattern: str) -> re.Pattern[str]:
    """Return a pattern where `*` matches anything and nothing else is special."""
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")) + r"\Z", re.DOTALL)


def _offered(tool: Tool, subject: str) -> str:
    """Return the rule offered for "always": narrow for commands, wide for edits."""
    if tool.effect == "write":
        return tool.name
    if tool.name.startswith("mcp_"):
        return tool.name
    if tool.name == "http_request":
        method, _, url = subject.partition(" ")
        host = "/".join(url.split("/", 3)[:3])
        return f"http_request({method} {host}/*)"
    if tool.name != "bash":
        return f"{tool.name}({subject})" if subject else tool.name
    if _JOINS.search(subject) or any(pattern.search(subject) for pattern, _ in _DANGEROUS):
        return ""
    try:
        words = shlex.split(subject)
    except ValueError:
        return ""
    two = {"git", "make", "npm", "cargo", "go", "uv", "pip", "docker", "kubectl", "pytest", "python"}
    kept = words[:2] if words and words[0] in two else words[:1]
    if kept[1:] == ["-m"]:  # a module of Python is a program of its own
        kept = words[:3]
    return f"bash({' '.join(kept)} *)" if len(words) > len(kept) else f"bash({subject.strip()})"
