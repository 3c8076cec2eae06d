"""Completion offers commands and files, and leaves out what .gitignore names."""

from __future__ import annotations

from pathlib import Path

from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from syntor.cli.interactive.completing import SessionCompleter, project_files


def _completed(folder: Path, text: str) -> list[str]:
    completer = SessionCompleter({"help": "lists", "history": "shows"}, folder)
    return [completion.text for completion in completer.get_completions(Document(text), CompleteEvent())]


def test_commands_complete_at_the_start_of_a_line_only(tmp_path: Path) -> None:
    assert _completed(tmp_path, "/he") == ["help"]
    assert _completed(tmp_path, "/H") == ["help", "history"]
    assert _completed(tmp_path, "say /he") == []


def test_files_complete_after_an_at_sign_without_ignored_ones(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "build").mkdir()
    for name in ("src/lamp.py", "build/lamp.o", "lamp.log", "README.md"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".gitignore").write_text("build/\n*.log\n")
    assert list(project_files(tmp_path)) == [".gitignore", "README.md", "src/lamp.py"]
    assert _completed(tmp_path, "look at @lam") == ["src/lamp.py"]
