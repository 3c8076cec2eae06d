"""A rule that could never match is refused, with the form expected or the tools there are."""

from __future__ import annotations

import pytest

from syntor.contracts.permissions import BUILT_IN_TOOLS, rule_problem


@pytest.mark.parametrize(
    "rule", [*BUILT_IN_TOOLS, "*", "git_*", "mcp_x", "mcp_*", "m*", "bash(rm *)", "bash(git push:*)", "read_file(a(b))"]
)
def test_rules_of_every_form_are_taken(rule: str) -> None:
    assert rule_problem(rule) == ""


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("bash(rm *", "expected `tool` or `tool(pattern)`"),
        ("bash rm", "expected `tool`"),
        ("bash()", "empty pattern"),
        ("", "expected `tool`"),
        ("Bash(ls)", "did you mean bash?"),
        ("edit_fil", "did you mean edit_file"),
        ("Write", "names no tool"),
        ("zz*", "names no tool"),
    ],
)
def test_others_are_refused_with_the_form_or_near_names(rule: str, told: str) -> None:
    assert told in rule_problem(rule)
