"""The tree uses the terms of docs/glossary.md, and none of the words it rules out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
FOLDERS = ("contracts", "libs", "services", "tools", "tests", "docs", "deploy", "examples", ".ci")
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".sql", ".html", ".conf", ".sh"}
EXEMPT = {
    GLOSSARY,
    ROOT / "CHANGELOG.md",
    ROOT / "contracts" / "syntor" / "contracts" / "CHANGELOG.md",
    Path(__file__).resolve(),
}
_ROW = re.compile(r"\| `(?P<pattern>.+)` \| (?P<use>.+) \|")


def _patterns() -> list[tuple[str, str]]:
    table = GLOSSARY.read_text().partition("## Words that are not used")[2]
    rows = [_ROW.fullmatch(line) for line in table.splitlines()]
    return [(row["pattern"].replace("\\|", "|"), row["use"]) for row in rows if row is not None]


def _files() -> list[Path]:
    found = [path for path in ROOT.iterdir() if path.is_file() and (path.suffix in SUFFIXES or path.name == "Makefile")]
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES and path.is_file()]
    return [path for path in found if path not in EXEMPT and "node_modules" not in path.parts]


TEXTS = {path.relative_to(ROOT): path.read_text() for path in _files()}


@pytest.mark.parametrize(("pattern", "use"), _patterns())
def test_a_word_that_is_ruled_out_is_nowhere(pattern: str, use: str) -> None:
    expression = re.compile(pattern)
    found = [
        f"{path}:{number}: {line.strip()}"
        for path, text in TEXTS.items()
        for number, line in enumerate(text.splitlines(), 1)
        if expression.search(line)
    ]
    assert found == [], f"use: {use}"


def test_the_table_is_read() -> None:
    assert len(_patterns()) > 30
    assert any(re.search(pattern, "parked") for pattern, _ in _patterns())
