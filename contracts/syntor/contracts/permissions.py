"""Permission rules and the names of the built-in tools, shared by clients and agents."""

from __future__ import annotations

import re

from syntor.contracts.vocabulary import DEFAULT_MODE, MODES

__all__ = ["BUILT_IN_TOOLS", "DEFAULT_MODE", "MODES", "RULE", "RULE_FORM"]

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
