"""Permission rules and the names of the built-in tools, shared by clients and agents."""

from __future__ import annotations

import difflib
import fnmatch
import re

from syntor.contracts.vocabulary import DEFAULT_MODE, MODES

__all__ = ["BUILT_IN_TOOLS", "DEFAULT_MODE", "MODES", "RULE", "RULE_FORM", "rule_problem"]

RULE = re.compile(r"(?P<tool>[A-Za-z0-9_*-]+)(?:\((?P<pattern>.*)\))?\Z", re.DOTALL)
"""`tool` or `tool(pattern)`."""
RULE_FORM = "`tool` or `tool(pattern)`, such as bash(make *)"

BUILT_IN_TOOLS = (
    *("read_file", "write_file", "edit_file", "list_directory", "glob", "grep", "bash", "http_request"),
    *("process_output", "process_stop", "apply_patch", "read_notebook", "edit_notebook", "todo"),
    *("git_status", "git_diff", "git_log", "git_add", "git_commit", "git_branch", "git_checkout", "git_merge"),
    *("git_clone", "git_pull", "git_push", "delegate", "handoff", "plan", "ask_user"),
)
"""Names a client-side tool may not have."""
_MCP_PREFIX = "mcp_"


def rule_problem(rule: str) -> str:
    """Return why a text is no permission rule, with the form expected or near tool names; empty: it is one."""
    found = RULE.match(rule.strip())
    if found is None:
        return f"{rule!r} is no rule; expected {RULE_FORM}"
    tool, pattern = found["tool"], found["pattern"]
    if pattern is not None and not pattern.strip():
        return f"{rule!r} has an empty pattern; expected {RULE_FORM}"
    if tool.startswith(_MCP_PREFIX) or any(fnmatch.fnmatchcase(name, tool) for name in (*BUILT_IN_TOOLS, _MCP_PREFIX)):
        return ""
    if "*" in tool and fnmatch.fnmatchcase(_MCP_PREFIX, tool[: len(_MCP_PREFIX)] + "*"):
        return ""
    near = difflib.get_close_matches(tool.lower(), BUILT_IN_TOOLS, n=3, cutoff=0.6)
    meant = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(BUILT_IN_TOOLS)}, mcp_*"
    return f"{rule!r} names no tool: {tool}; {meant}"
