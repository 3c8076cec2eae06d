"""Decides about a tool call before it runs: allow, require_approval or deny.

Harm that no approval can make good is denied first, whatever the rules say: paths outside the workspace, files that
may hold secrets, commands that destroy a system. Then rules decide (deny, ask, allow), then the mode.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

import msgspec

from syntor.agentkit.domain import shell_commands
from syntor.agentkit.domain.mcp_names import PREFIX as MCP_PREFIX
from syntor.agentkit.domain.secret_files import is_secret
from syntor.contracts.permissions import DEFAULT_MODE, RULE
from syntor.contracts.run.v1 import Permissions
from syntor.contracts.vocabulary import PolicyOutcome, ToolEffect

ALLOW: Final = "allow"
REQUIRE_APPROVAL: Final = "require_approval"
DENY: Final = "deny"
_DOES = {"write": "changes files", "execute": "runs commands", "network": "uses the network"}


class PathArgument(msgspec.Struct, frozen=True):
    """A path a call names, and where it leads."""

    named: str
    """As the model wrote it."""
    resolved: PurePath | None
    """Absolute, links followed; None: outside the workspace."""
    inside: PurePath | None
    """The same, relative to the workspace."""


class ProposedCall(msgspec.Struct, frozen=True):
    """A tool call as the policy sees it."""

    tool: str
    """Name of the tool."""
    effect: ToolEffect
    """Its effect; see `Tool.effect`."""
    subject: str
    """What rules match: the command, the path, the URL."""
    paths: tuple[PathArgument, ...] = ()
    has_workspace: bool = True


class Verdict(msgspec.Struct, frozen=True):
    """The policy's decision about a call."""

    decision: PolicyOutcome
    """allow, require_approval or deny."""
    reason: str
    """Rule that decided, for people and for the model."""
    rule: str = ""
    """Rule that would allow calls like this one; empty: none should."""


def decide(call: ProposedCall, permissions: Permissions, granted: Sequence[str] = ()) -> Verdict:
    """Return whether a call is allowed, needs approval or is denied.

    Args:
        granted: rules people approved for the session.
    """
    if call.effect == "delegate":
        return _by_rules(call, permissions, granted) or Verdict(ALLOW, "calls another agent")
    if not call.has_workspace:
        return Verdict(DENY, "this run has no workspace")
    if reason := _forbidden(call):
        return Verdict(DENY, reason)
    return _by_rules(call, permissions, granted) or _by_mode(call, permissions.mode or DEFAULT_MODE)


def _forbidden(call: ProposedCall) -> str:
    """Return why a call is denied whatever the rules say, or an empty text."""
    for path in call.paths:
        if path.resolved is None or path.inside is None:
            return f"{path.named} is outside the workspace"
        if is_secret(path.resolved) or is_secret(PurePath(path.named)):
            return f"{path.named} may hold secrets"
        if call.effect == "write" and ".git" in path.inside.parts:
            return f"{path.named} belongs to git; use the git tools"
    return shell_commands.forbidden(call.subject) if call.tool == "bash" else ""


def _by_rules(call: ProposedCall, permissions: Permissions, granted: Sequence[str]) -> Verdict | None:
    if rule := _matching(permissions.deny, call):
        return Verdict(DENY, f"rule {rule} denies it")
    if permissions.mode == "plan" and call.effect not in ("read", "delegate"):
        return Verdict(DENY, "plan mode changes nothing; describe what you would do")
    if rule := _matching(permissions.ask, call):
        return Verdict(REQUIRE_APPROVAL, f"rule {rule} asks", _rule_for(call))
    if rule := _matching((*permissions.allow, *granted), call):
        if call.tool == "bash" and "(" in rule and shell_commands.is_chained(call.subject):
            return None  # a rule for one command does not allow what is chained to it
        return Verdict(ALLOW, f"rule {rule} allows it")
    return None


def _by_mode(call: ProposedCall, mode: str) -> Verdict:
    if call.effect == "read":
        return Verdict(ALLOW, "reads inside the workspace")
    if mode == "auto":
        reason = shell_commands.risky(call.subject) if call.tool == "bash" else ""
        return Verdict(REQUIRE_APPROVAL, reason) if reason else Verdict(ALLOW, "mode auto")
    if mode == "auto-edit" and call.effect == "write":
        return Verdict(ALLOW, "mode auto-edit")
    return Verdict(REQUIRE_APPROVAL, f"mode {mode} asks before it {_DOES[call.effect]}", _rule_for(call))


def _matching(rules: Sequence[str], call: ProposedCall) -> str:
    """Return the first rule that matches, or an empty text."""
    for rule in rules:
        match = RULE.match(rule.strip())
        if match is None or not fnmatch.fnmatchcase(call.tool, match["tool"]):
            continue
        if match["pattern"] is None or _glob(match["pattern"]).match(call.subject):
            return rule
    return ""


def _glob(pattern: str) -> re.Pattern[str]:
    """Return a pattern where `*` matches anything and nothing else is special."""
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")) + r"\Z", re.DOTALL)


def _rule_for(call: ProposedCall) -> str:
    """Return the rule offered for "always": narrow for commands, wide for edits; empty where none should be."""
    if call.effect == "write" or call.tool.startswith(MCP_PREFIX):
        return call.tool
    if call.tool == "bash":
        return shell_commands.rule_for(call.subject)
    if call.tool == "http_request":
        method, _, url = call.subject.partition(" ")
        return f"http_request({method} {'/'.join(url.split('/', 3)[:3])}/*)"
    return f"{call.tool}({call.subject})" if call.subject else call.tool
