"""Files of a workspace are opened without leaving it, without waiting, and only where they are regular."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path

import pytest

from syntor.agentkit.domain.path_names import quoted
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools import files, workspace_files
from syntor.agentkit.tools.line_reader import read_lines
from syntor.agentkit.tools.sandbox import limits_only
from syntor.agentkit.tools.tool import ToolRun


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    (root / "d").mkdir(parents=True)
    (root / "d" / "a.txt").write_text("inside\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("outside\n")
    return root


def at(workspace: Path) -> ToolRun:
    return ToolRun(workspace=workspace, sandbox=limits_only(workspace, "a test"), key="r1.t1.c1_1")


def test_nothing_but_regular_files_is_opened(workspace: Path) -> None:
    os.mkfifo(workspace / "pipe")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(workspace / "sock"))
    (workspace / "to_pipe").symlink_to("pipe")
    (workspace / "loop").symlink_to("loop")
    (workspace / "dangling").symlink_to("d/none")
    for name, said in (("pipe", "a FIFO"), ("to_pipe", "a FIFO"), ("sock", "a socket"), ("d", "a folder")):
        for _ in range(8):
            with pytest.raises(ToolError, match=said):
                workspace_files.read_whole(workspace, name, 100)
        with pytest.raises(ToolError, match=said):
            workspace_files.replace_file(workspace, name, b"x", None)
    for name in ("loop", "dangling", "d/a.txt/b", ".", "\ud800", '"\ud800"', "a\0b", "x" * 5000):
        with pytest.raises(ToolError):
            workspace_files.read_whole(workspace, name, 100)


def test_links_that_stay_inside_work_and_survive_a_write(workspace: Path) -> None:
    (workspace / "relative").symlink_to("d/a.txt")
    (workspace / "absolute").symlink_to(workspace / "d")
    for name in ("relative", "absolute/a.txt"):
        data, seen = workspace_files.read_whole(workspace, name, 100)
        workspace_files.replace_file(workspace, name, data + b"more\n", seen)
    assert (workspace / "relative").is_symlink()
    assert (workspace / "d" / "a.txt").read_text() == "inside\nmore\nmore\n"


def test_a_link_exchanged_between_check_and_use_never_leads_outside(workspace: Path) -> None:
    outside, over = workspace.parent / "out", threading.Event()
    (workspace / "to_out").symlink_to(outside)
    (workspace / "x").mkdir()
    (workspace / "x" / "a.txt").write_text("inside\n")

    def exchange() -> None:
        while not over.is_set():
            os.rename(workspace / "x", workspace / "y")
            os.rename(workspace / "to_out", workspace / "x")
            os.rename(workspace / "x", workspace / "to_out")
            os.rename(workspace / "y", workspace / "x")

    exchanging = threading.Thread(target=exchange)
    exchanging.start()
    try:
        for _ in range(500):
            with contextlib.suppress(ToolError):
                data, seen = workspace_files.read_whole(workspace, "x/a.txt", 100)
                assert data == b"inside\n"
                workspace_files.replace_file(workspace, "x/a.txt", b"inside\n", seen)
    finally:
        over.set()
        exchanging.join()
    assert (outside / "a.txt").read_text() == "outside\n"
    assert os.listdir(outside) == ["a.txt"]


def test_a_file_keeps_its_mode_and_its_hard_links(workspace: Path) -> None:
    file = workspace / "d" / "a.txt"
    file.chmod(0o750)
    os.link(file, workspace / "second")
    for content in (b"a longer content than before\n", b"short\n"):
        workspace_files.replace_file(workspace, "d/a.txt", content, file.stat())
        assert (workspace / "second").read_bytes() == content
    os.unlink(workspace / "second")
    workspace_files.replace_file(workspace, "d/a.txt", b"alone\n", file.stat())
    assert file.stat().st_mode & 0o7777 == 0o750
    assert os.listdir(workspace / "d") == ["a.txt"]


def test_a_new_file_has_the_mode_the_user_wants(workspace: Path) -> None:
    before = os.umask(0o027)
    try:
        workspace_files.replace_file(workspace, "n/e/w.txt", b"x", None)
    finally:
        os.umask(before)
    assert (workspace / "n" / "e" / "w.txt").stat().st_mode & 0o777 == 0o640


def test_a_file_changed_since_it_was_read_is_not_overwritten(workspace: Path) -> None:
    _, seen = workspace_files.read_whole(workspace, "d/a.txt", 100)
    (workspace / "d" / "a.txt").write_text("changed by a person\n")
    with pytest.raises(ToolError, match="changed by something else"):
        workspace_files.replace_file(workspace, "d/a.txt", b"x", seen)
    with pytest.raises(ToolError, match="changed by something else"):
        workspace_files.replace_file(workspace, "d/a.txt", b"x", None)


def test_a_full_disk_leaves_the_file_as_it_was(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file = workspace / "d" / "a.txt"
    os.link(file, workspace / "second")
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ToolError, match="No space left"):
        workspace_files.replace_file(workspace, "d/a.txt", b"x" * 1000, file.stat())
    assert file.read_text() == "inside\n"


def test_a_name_that_is_missing_brings_near_ones(workspace: Path) -> None:
    for wanted, near in (("d/A.txt", "d/a.txt"), ("d/a.md", "d/a.txt"), ("dd/a.txt", "there is d")):
        with pytest.raises(ToolError, match=near):
            workspace_files.read_whole(workspace, wanted, 100)


async def test_names_that_are_not_text_are_shown_escaped_and_understood(workspace: Path) -> None:
    for raw in (b"caf\xe9.txt", b"two\nlines.txt", b"\x1b[2J.txt"):
        Path(os.fsdecode(os.path.join(os.fsencode(workspace), raw))).write_text("found\n")
    listed = (await files.list_directory(at(workspace), files.ListDirectory())).split("\n")
    assert listed == ['"\\033[2J.txt"', '"caf\\351.txt"', "d/", '"two\\nlines.txt"']
    for name in listed:
        if name != "d/":
            assert await files.read_file(at(workspace), files.ReadFile(path=name)) == "    1 found"


async def test_lines_are_read_by_range_and_the_rest_is_counted(workspace: Path) -> None:
    (workspace / "many").write_text("".join(f"line {n}\n" for n in range(1, 1001)))
    text = await files.read_file(at(workspace), files.ReadFile(path="many", start_line=100, lines=50))
    assert text.startswith("  100 line 100\n")
    assert text.endswith("  149 line 149\n... 851 more lines; continue with start_line 150")
    assert await files.read_file(at(workspace), files.ReadFile(path="many", start_line=2000)) == "(many has 1000 lines)"


@pytest.mark.parametrize("line", ["x" * 49, "y" * 200_000])
def test_a_large_file_is_read_in_parts(workspace: Path, line: str) -> None:
    count = 6_000_000 // (len(line) + 1)
    (workspace / "large").write_text(f"{line}\n" * count + "end")
    with workspace_files.opened(workspace, "large") as file:
        excerpt = read_lines(file, count - 1, 10)
    assert [text[:3] for text in excerpt.lines] == [line[:3], line[:3], "end"]
    assert (excerpt.rest, excerpt.complete) == (0, True)
    with workspace_files.opened(workspace, "large") as file:
        assert read_lines(file, 2, 1).rest == count - 1


def test_a_sparse_file_of_100_gb_ends_at_once(workspace: Path) -> None:
    with open(workspace / "sparse", "wb") as file:
        file.truncate(100 * 1024**3)
    with workspace_files.opened(workspace, "sparse") as opened, pytest.raises(ToolError, match="NUL"):
        read_lines(opened, 1, 400)
    with pytest.raises(ToolError, match="use read_file or grep"):
        workspace_files.read_whole(workspace, "sparse", 1000)


def test_quoted_names_have_one_spelling() -> None:
    assert quoted("größe.txt") == "größe.txt"
    assert quoted('"a"') == '"\\"a\\""'
