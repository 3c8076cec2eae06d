"""Decides about a tool call before it runs: allow, require_approval or deny.

Harm that no approval can make good is denied first, whatever the rules say: paths outside the workspace, files that
may hold secrets, commands that destroy a system. Then rules decide (deny, ask, allow), then the mode; but files that
grant rights or run later by themselves, and staging secrets, require approval whatever allows it. Shell commands are
judged part by part, by `permissions.judgement`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import msgspec

from syntor.agentkit.domain.mcp_names import PREFIX as MCP_PREFIX
from syntor.agentkit.domain.permissions.files import Files, NoFiles
from syntor.agentkit.domain.permissions.judgement import ALLOW, DENY, REQUIRE_APPROVAL, Part, judge
from syntor.agentkit.domain.permissions.rules import matching_tool
from syntor.agentkit.domain.permissions.sensitive_files import grants_or_runs
from syntor.agentkit.domain.secret_files import is_secret
from syntor.contracts.permissions import DEFAULT_MODE
from syntor.contracts.run.v1 import Permissions
from syntor.contracts.vocabulary import PolicyOutcome, ToolEffect

__all__ = ["ALLOW", "DENY", "REQUIRE_APPROVAL", "PathArgument", "ProposedCall", "Verdict", "decide"]
_DOES = {"write": "changes files", "execute": "runs commands", "network": "uses the network"}
_STAGES = "git_add"
_NO_FILES = NoFiles()


class PathArgument(msgspec.Struct, frozen=True):
    """A path a call names, and where it leads."""

    named: str
    """As the model wrote it."""
    resolved: PurePath | None
    """Absolute, links followed; None: outside the workspace."""
    inside: PurePath | None
    """The same, relative to the workspace."""
    is_own: bool = False
    """Whether it is a file of Syntor itself, such as its key or its log."""


class ProposedCall(msgspec.Struct, frozen=True):
    """A tool call as the policy sees it."""

    tool: str
    """Name of the tool."""
    effect: ToolEffect
    """Its effect; see `Tool.effect`."""
    subject: str
    """What rules match: the command, the path, the URL."""
    paths: tuple[PathArgument, ...] = ()
    risk: str = ""
    """Why it needs approval in every mode unless a rule allows it; empty: its effect decides."""
    has_workspace: bool = True
    staged_secrets: tuple[str, ...] = ()
    """Files that it stages for a commit and that may hold secrets."""


class Verdict(msgspec.Struct, frozen=True):
    """The policy's decision about a call."""

    decision: PolicyOutcome
    """allow, require_approval or deny."""
    reason: str
    """Rule that decided, for people and for the model."""
    rule: str = ""
    """Rule that would allow calls like this one; empty: none should."""
    parts: tuple[Part, ...] = ()
    """Of a shell command: its parts, each with what decides about it."""


def decide(
    call: ProposedCall, permissions: Permissions, granted: Sequence[str] = (), files: Files = _NO_FILES
) -> Verdict:
    """Return whether a call is allowed, needs approval or is denied.

    Args:
        granted: rules people approved for the session.
        files: what a shell command's paths are compared with.
    """
    if call.effect == "delegate":
        return _by_rules(call, permissions, granted) or Verdict(ALLOW, "calls another agent")
    if not call.has_workspace:
        return Verdict(DENY, "this run has no workspace")
    if reason := _forbidden(call):
        return Verdict(DENY, reason)
    if call.tool == "bash":
        judged = judge(call.subject, permissions, granted, files)
        verdict = Verdict(judged.decision, judged.reason, judged.rule, judged.parts)
    else:
        verdict = _by_rules(call, permissions, granted) or _by_mode(call, permissions.mode or DEFAULT_MODE)
    if verdict.decision != DENY and (reason := _protected(call)):
        return Verdict(REQUIRE_APPROVAL, f"always asks: {reason}", parts=verdict.parts)
    return verdict


def _forbidden(call: ProposedCall) -> str:
    """Return why a call is denied whatever the rules say, or an empty text."""
    for path in call.paths:
        if path.resolved is None or path.inside is None:
            return f"{path.named} is outside the workspace"
        if path.is_own:
            return f"{path.named} belongs to Syntor itself"
        if call.tool != _STAGES and (is_secret(path.resolved) or is_secret(PurePath(path.named))):
            return f"{path.named} may hold secrets"
    return ""


def _protected(call: ProposedCall) -> str:
    """Return why a call requires approval whatever allows it, or an empty text."""
    if call.staged_secrets:
        shown = ", ".join(call.staged_secrets[:10]) + (" and more" if len(call.staged_secrets) > 10 else "")
        return f"it stages {shown}, which may hold secrets"
    if call.effect != "write":
        return ""
    for path in call.paths:
        reason = grants_or_runs(path.inside or PurePath(path.named)) or grants_or_runs(PurePath(path.named))
        if reason:
            return f"{path.named} {reason}"
    return ""


def _by_rules(call: ProposedCall, permissions: Permissions, granted: Sequence[str]) -> Verdict | None:
    if rule := matching_tool(permissions.deny, call.tool, call.subject):
        return Verdict(DENY, f"rule {rule} denies it")
    if permissions.mode == "plan" and call.effect not in ("read", "delegate"):
        return Verdict(DENY, "plan mode changes nothing; describe what you would do")
    if rule := matching_tool(permissions.ask, call.tool, call.subject):
        return Verdict(REQUIRE_APPROVAL, f"rule {rule} asks", _rule_for(call))
    if rule := matching_tool((*permissions.allow, *granted), call.tool, call.subject):
        return Verdict(ALLOW, f"rule {rule} allows it")
    return None


def _by_mode(call: ProposedCall, mode: str) -> Verdict:
    if call.effect == "read":
        return Verdict(ALLOW, "reads inside the workspace")
    if mode == "auto":
        if call.risk:
            return Verdict(REQUIRE_APPROVAL, call.risk, _rule_for(call))
        return Verdict(ALLOW, "mode auto")
    if mode == "auto-edit" and call.effect == "write":
        return Verdict(ALLOW, "mode auto-edit")
    return Verdict(REQUIRE_APPROVAL, f"mode {mode} asks before it {_DOES[call.effect]}", _rule_for(call))


def _rule_for(call: ProposedCall) -> str:
    """Return the rule offered for "always": narrow for commands, wide for edits; empty where none should be."""
    if call.effect == "write" or call.tool.startswith(MCP_PREFIX):
        return call.tool
    if call.tool == "http_request":
        method, _, url = call.subject.partition(" ")
        return f"http_request({method} {'/'.join(url.split('/', 3)[:3])}/*)"
    return f"{call.tool}({call.subject})" if call.subject else call.tool
