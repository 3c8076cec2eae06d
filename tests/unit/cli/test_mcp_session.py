"""What of a line in a session belongs to MCP servers."""

from __future__ import annotations

import pytest

from syntor.cli.interactive.mcp_session import prompt_of, resources


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/mcp__docs__summary a b=c", ("docs", "summary", "a b=c")),
        ("  /mcp__my-docs__x__y", ("my-docs", "x__y", "")),
        ("/mcp", None),
        ("say /mcp__docs__x", None),
    ],
)
def test_a_line_names_a_prompt(line: str, found: tuple[str, str, str] | None) -> None:
    assert prompt_of(line) == found


def test_a_message_mentions_resources() -> None:
    read: list[tuple[str, str]] = []

    def content(server: str, uri: str) -> str:
        read.append((server, uri))
        return "text"

    text, found = resources(
        "compare @docs:file:///a.md with @docs:file:///a.md and @src/b.py, mail a@docs:x:y", content
    )
    assert text == "compare docs:file:///a.md with docs:file:///a.md and @src/b.py, mail a@docs:x:y"
    assert read == [("docs", "file:///a.md")]
    assert [(each.name, each.content) for each in found] == [("docs:file:///a.md", "text")]
