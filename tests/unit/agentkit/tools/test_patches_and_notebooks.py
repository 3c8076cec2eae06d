"""apply_patch changes all files or none; notebooks are edited by cell and otherwise kept; a to-do list has one step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools import patches
from syntor.agentkit.tools.catalog import all_tools
from syntor.agentkit.tools.notebooks import EditNotebook, ReadNotebook, edit_notebook, read_notebook
from syntor.agentkit.tools.patches import ApplyPatch, apply_patch
from syntor.agentkit.tools.sandbox import limits_only
from syntor.agentkit.tools.todo import Todo, TodoItem, todo
from syntor.agentkit.tools.tool import ToolRun
from syntor.agentkit.tools.workspace_files import remove_file

PATCH = """*** Begin Patch
*** Add File: new/n.txt
+n
*** Update File: a.txt
@@
-two
+2
*** Update File: m.txt
*** Move to: moved.txt
@@
-m
+M
*** Delete File: d.txt
*** End Patch"""


@pytest.fixture
def run(tmp_path: Path) -> ToolRun:
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    (tmp_path / "m.txt").write_text("m\n")
    (tmp_path / "d.txt").write_text("d\n")
    return ToolRun(workspace=tmp_path, sandbox=limits_only(tmp_path, "a test"), key="r1.t1.c1_1")


def _files(run: ToolRun) -> dict[str, bytes]:
    files = (path for path in run.workspace.rglob("*") if path.is_file())
    return {str(path.relative_to(run.workspace)): path.read_bytes() for path in files}


async def test_a_patch_changes_all_its_files(run: ToolRun) -> None:
    tool, arguments = all_tools()["apply_patch"], ApplyPatch(PATCH)
    assert tool.paths(arguments) == ["new/n.txt", "a.txt", "m.txt", "moved.txt", "d.txt"]
    preview = tool.preview(run.workspace, arguments)
    assert all(part in preview for part in ("+n", "-two\n+2", "move m.txt to moved.txt", "delete d.txt\n"))
    await apply_patch(run, arguments)
    assert _files(run) == {"a.txt": b"one\r\n2\r\nthree\r\n", "moved.txt": b"M\n", "new/n.txt": b"n\n"}


async def test_a_patch_that_fails_half_way_changes_nothing(run: ToolRun, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _files(run)

    def full(workspace: Path, path: str) -> None:
        if path == "d.txt":
            raise ToolError("no space")
        remove_file(workspace, path)

    monkeypatch.setattr(patches, "remove_file", full)
    with pytest.raises(ToolError, match="nothing was changed: no space"):
        await apply_patch(run, ApplyPatch(PATCH))
    assert _files(run) == before


@pytest.mark.parametrize(
    ("line", "said"),
    [("*** Add File: a.txt\n+x", "is there already"), ("*** Delete File: b.txt", "there is m.txt, d.txt, a.txt")],
)
async def test_a_patch_that_cannot_be_applied_says_why(run: ToolRun, line: str, said: str) -> None:
    arguments = ApplyPatch(f"*** Begin Patch\n{line}\n*** End Patch")
    with pytest.raises(ToolError, match=said):
        all_tools()["apply_patch"].preview(run.workspace, arguments)


def _notebook(minor: int) -> str:
    cells = [
        {"cell_type": "markdown", "metadata": {"x": 1}, "source": ["# Title\n", "text"]},
        {
            "cell_type": "code", "execution_count": 3, "metadata": {}, "source": "print('ü')",
            "outputs": [{"output_type": "stream", "name": "stdout", "text": ["ü\n"]},
                        {"output_type": "display_data", "metadata": {}, "data": {"image/png": "AAAA"}}],
        },
    ]  # fmt: skip
    content = {"cells": cells, "metadata": {"kept": True}, "nbformat": 4, "nbformat_minor": minor}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("minor", [4, 5])
async def test_a_notebook_is_read_and_edited_by_cell(run: ToolRun, minor: int) -> None:
    file = run.workspace / "n.ipynb"
    file.write_text(_notebook(minor))
    assert await read_notebook(run, ReadNotebook("n.ipynb")) == (
        "[0] markdown\n# Title\ntext\n\n[1] code\nprint('ü')\n\n[1] output\nü\n(image/png)"
    )
    said = await edit_notebook(run, EditNotebook("n.ipynb", 1, "print('ä')\nx"))
    assert "-print('ü')\n" in said
    assert "+print('ä')\n+x" in said
    await edit_notebook(run, EditNotebook("n.ipynb", 2, "y", action="insert"))
    await edit_notebook(run, EditNotebook("n.ipynb", 0, action="delete"))
    notebook = json.loads(file.read_text())
    assert notebook["metadata"] == {"kept": True}
    assert notebook["cells"][0] == {
        "cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": ["print('ä')\n", "x"]
    }  # fmt: skip
    assert ("id" in notebook["cells"][1]) == (minor == 5)
    assert file.read_text().startswith('{\n "cells"')
    with pytest.raises(ToolError, match="there are cells 0 to 1"):
        await edit_notebook(run, EditNotebook("n.ipynb", 2, "x"))


async def test_what_is_no_notebook_is_refused(run: ToolRun) -> None:
    for content in ("{", "[]", '{"cells": [1], "nbformat": 4}', '{"worksheets": [], "nbformat": 3}', "[" * 100_000):
        (run.workspace / "n.ipynb").write_text(content)
        with pytest.raises(ToolError, match=r"n\.ipynb is not a notebook"):
            await read_notebook(run, ReadNotebook("n.ipynb"))


async def test_a_to_do_list_is_shown_with_its_states(run: ToolRun) -> None:
    items = [TodoItem("look", "done"), TodoItem("change", "in_progress"), TodoItem("test")]
    assert await todo(run, Todo(items)) == "[x] look\n[>] change\n[ ] test\n2 left"
    with pytest.raises(ToolError, match="more than one"):
        await todo(run, Todo([TodoItem("a", "in_progress"), TodoItem("b", "in_progress")]))
