"""Completion offers commands and files, without files that .gitignore ignores."""

from __future__ import annotations

from pathlib import Path

from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from syntor.cli.interactive.completer import SessionCompleter
from syntor.cli.interactive.files import FileList, list_files


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
    assert list_files(tmp_path) == [".gitignore", "README.md", "src/lamp.py"]
    assert _completed(tmp_path, "look at @lam") == ["src/lamp.py"]


def test_a_file_whose_name_has_a_space_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "to do.md").write_text("x")
    assert _completed(tmp_path, "see @to") == ['"to do.md"']
    assert _completed(tmp_path, 'see @"to d') == ['"to do.md"']
    assert _completed(tmp_path, "me@to") == []


def test_ignore_files_of_child_and_parent_folders_apply_and_the_innermost_decides(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("x")
    inner = tmp_path / "app" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / ".gitignore").write_text("*.log\n/app/secret\n")
    (inner / ".gitignore").write_text("!kept.log\ndropped.txt\n")
    for name in ("kept.log", "lost.log", "dropped.txt", "shown.txt"):
        (inner / name).write_text("x")
    (tmp_path / "app" / "secret").write_text("x")
    assert list_files(tmp_path / "app") == ["deep/.gitignore", "deep/kept.log", "deep/shown.txt"]
    assert [path for path in list_files(tmp_path) if path.startswith(".git/")] == []


def test_paths_with_the_typed_prefix_come_first(tmp_path: Path) -> None:
    for folder in ("lib", "src"):
        (tmp_path / folder).mkdir()
    for name in ("src/lamp.py", "lib/clamp.py", "lamp.md", "src/other.py"):
        (tmp_path / name).write_text("x")
    assert FileList(tmp_path).matching("lamp") == ["lamp.md", "src/lamp.py", "lib/clamp.py"]
    assert FileList(tmp_path).matching("./src/o") == ["src/other.py"]


def test_names_and_descriptions_hide_nothing(tmp_path: Path) -> None:
    (tmp_path / "a\u202eb.md").write_text("x")
    completer = SessionCompleter({"mcp__x": "reads\u200b files"}, tmp_path)
    [file] = completer.get_completions(Document("@a"), CompleteEvent())
    [command] = completer.get_completions(Document("/mcp"), CompleteEvent())
    assert (file.text, file.display_text) == ("a\u202eb.md", "a<U+202E>b.md")
    assert command.display_meta_text == "reads<U+200B> files"
