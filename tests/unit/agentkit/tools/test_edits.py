"""Edits and writes keep what is the file's own, and a preview says everything that changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.edits import (
    EditFile,
    Replacement,
    WriteFile,
    edit_file,
    edit_preview,
    write_file,
    write_preview,
)
from syntor.agentkit.tools.sandbox import limits_only
from syntor.agentkit.tools.tool import ToolRun


@pytest.fixture
def run(tmp_path: Path) -> ToolRun:
    return ToolRun(workspace=tmp_path, sandbox=limits_only(tmp_path, "a test"), key="r1.t1.c1_1")


async def test_several_replacements_are_made_together_or_not_at_all(run: ToolRun) -> None:
    file = run.workspace / "a.txt"
    file.write_bytes(b"one\r\ntwo\r\nthree\r\n")
    edit = EditFile("a.txt", "one\ntwo", "1\n2", edits=[Replacement("2\nthree", "2\n3"), Replacement("3", "drei")])
    assert "+drei" in edit_preview(run.workspace, edit)
    await edit_file(run, edit)
    assert file.read_bytes() == b"1\r\n2\r\ndrei\r\n"
    with pytest.raises(ToolError, match="replacement 2, nothing was changed: old_string is not in"):
        await edit_file(run, EditFile("a.txt", "1", "one", edits=[Replacement("absent", "x")]))
    assert file.read_bytes() == b"1\r\n2\r\ndrei\r\n"


async def test_a_write_keeps_encoding_line_ends_and_mark(run: ToolRun) -> None:
    file = run.workspace / "a.txt"
    file.write_bytes("Größe\r\nTür\r\n".encode("latin-1"))
    await write_file(run, WriteFile("a.txt", "Größe\nTore für alle\n"))
    assert file.read_bytes() == "Größe\r\nTore für alle\r\n".encode("latin-1")
    file.write_bytes(b"\xef\xbb\xbfa\n")
    await write_file(run, WriteFile("a.txt", "b\n"))
    assert file.read_bytes() == b"\xef\xbb\xbfb\n"


@pytest.mark.parametrize(
    ("before", "content", "said"),
    [
        (b"a\nb\n", "a\r\nb\r\n", "(the file changes from UTF-8, LF to UTF-8, CRLF)"),
        (b"a\r\nb\r\n", "a\nb\n", "(nothing changes)"),
        (b"a\nb\n", "a\nb", "(the newline at the end of the file is removed)"),
        (b"a\nb", "a\nb\n", "(the newline at the end of the file is added)"),
        (b"a\n", "", "(the file becomes empty)"),
        (b"\0\1\2", "a\n", "(replaces a file of 3 bytes that is not text)"),
        (None, "a\n", "(new file, UTF-8, LF)"),
    ],
)
def test_the_preview_says_what_a_diff_does_not_show(
    run: ToolRun, before: bytes | None, content: str, said: str
) -> None:
    if before is not None:
        (run.workspace / "a.txt").write_bytes(before)
    assert said in write_preview(run.workspace, WriteFile("a.txt", content))


def test_the_preview_names_hard_links(run: ToolRun) -> None:
    (run.workspace / "a.txt").write_text("a\n")
    os.link(run.workspace / "a.txt", run.workspace / "b.txt")
    assert "2 names" in write_preview(run.workspace, WriteFile("a.txt", "b\n"))


def test_what_cannot_work_has_no_preview(run: ToolRun) -> None:
    (run.workspace / "a.txt").write_text("lamp = 1\n")
    os.mkfifo(run.workspace / "pipe")
    with pytest.raises(ToolError, match="nearest is:\n    1 lamp = 1"):
        edit_preview(run.workspace, EditFile("a.txt", "lamp = 2", "x"))
    for path in ("pipe", "."):
        with pytest.raises(ToolError):
            write_preview(run.workspace, WriteFile(path, "x"))
