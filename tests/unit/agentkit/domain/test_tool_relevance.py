"""A small model is offered only tools that concern the request."""

from __future__ import annotations

import pytest

from syntor.agentkit.domain.tool_relevance import essential, is_relevant
from syntor.contracts.vocabulary import ToolEffect


@pytest.mark.parametrize(
    ("request_text", "tool", "effect", "relevant"),
    [
        ("hello, how are you?", "read_file", "read", False),
        ("what is in README.md?", "read_file", "read", True),
        ("what is in README.md?", "edit_file", "write", False),
        ("rename x in src/a.py", "edit_file", "write", True),
        ("run the tests of the project", "bash", "execute", True),
        ("read a.py", "git_diff", "read", False),
        ("explain the staged diff", "git_diff", "read", True),
        ("fetch https://example.org", "http_request", "network", True),
        ("list the Issues", "mcp_issues_list", "network", True),
        ("list the lamps", "mcp_issues_list", "network", False),
        ("make a plan with other agents", "plan", "delegate", True),
        ("hello", "plan", "delegate", False),
        ("hello", "screenshot", "client", True),
    ],
)
def test_relevance_follows_the_words_of_the_request(
    request_text: str, tool: str, effect: ToolEffect, relevant: bool
) -> None:
    assert is_relevant(tool, effect, request_text) is relevant


def test_essential_arguments_are_the_required_ones_and_the_path() -> None:
    text = {"type": "string"}
    properties = {"pattern": text, "path": text, "glob": text, "context": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["pattern"]}
    assert essential(schema) == schema | {"properties": {"pattern": text, "path": text}}
    assert essential({"type": "object", "properties": {"folder": text}}) == {
        "type": "object",
        "properties": {"folder": text},
    }
