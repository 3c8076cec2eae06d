"""The permission engine looks at the files a pattern names, with a bounded effort."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from syntor.agentkit.tools import judged_files
from syntor.agentkit.tools.judged_files import JudgedFiles


def test_a_pattern_matches_as_in_a_shell(tmp_path: Path) -> None:
    for name in ("a/one.py", "a/two.txt", "b/one.py", ".hidden/one.py", "a/[x].py", "a/.env"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    files = JudgedFiles(tmp_path)

    def found(pattern: str) -> set[str]:
        return {os.path.relpath(path, tmp_path) for path in files.matches(f"{tmp_path}/{pattern}")}

    assert found("*/*.py") == {"a/one.py", "b/one.py", "a/[x].py"}
    assert found("a/[x].*") == {"a/[x].py"}
    assert found("a/.e*") == {"a/.env"}
    assert found("?/one.py") == {"a/one.py", "b/one.py"}
    assert found("a/none*") == found("none/*") == set()
    assert files.matches("/") == ["/"]
    assert files.matches(f"{tmp_path}/\0*") == []


def test_a_pattern_for_the_whole_disk_is_not_followed_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judged_files, "_MAX_ENTRIES", 30)
    for number in range(100):
        (tmp_path / f"d{number}").mkdir()
    looked_at: list[str] = []
    scan = os.scandir

    def counted(folder: str) -> Any:
        looked_at.append(folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", counted)
    assert JudgedFiles(tmp_path).matches(f"{tmp_path}/*/*/none") == []
    assert 0 < len(looked_at) <= 31
