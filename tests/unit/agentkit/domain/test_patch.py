"""Patches in both forms are read, and fitted to files that are not exactly as the patch expects."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.agentkit.domain import patch
from syntor.agentkit.domain.patch import FilePatch
from syntor.agentkit.domain.text_edit import applied
from syntor.agentkit.domain.tool_error import ToolError

V4A = """*** Begin Patch
*** Update File: src/a.py
@@ class Lamp:
     def on(self):
-        return 1
+        return True
@@
 last
+added
*** End of File
*** Add File: b.txt
+one
+
+two
*** Delete File: c.txt
*** Update File: d.txt
*** Move to: e/d.txt
*** End Patch"""
FILE = "class Other:\n    def on(self):\n        return 1\n\nclass Lamp:\n    def on(self):\n        return 1\nlast\n"


def test_the_form_with_begin_patch_is_read() -> None:
    update, add, delete, move = patch.parse(V4A)
    assert applied(FILE, patch.fitted(FILE, update)) == (
        "class Other:\n    def on(self):\n        return 1\n\n"
        "class Lamp:\n    def on(self):\n        return True\nlast\nadded\n"
    )
    assert (add.kind, add.path, add.content) == ("add", "b.txt", "one\n\ntwo\n")
    assert (delete.kind, delete.path) == ("delete", "c.txt")
    assert move.paths() == ["d.txt", "e/d.txt"]


@given(
    st.lists(st.sampled_from("abcd"), max_size=12),
    st.lists(st.sampled_from("abcde"), max_size=12),
    st.booleans(),
    st.sampled_from([0, 3]),
)
def test_a_unified_diff_gives_the_new_file(before: list[str], after: list[str], shifted: bool, context: int) -> None:
    old, new = "".join(f"{line}\n" for line in before), "".join(f"{line}\n" for line in after)
    text = "".join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "a/f", "b/f", n=context))
    if not text or not before:
        return
    [each] = patch.parse(text)
    head = "zz\n" * 3 if shifted and context and len(before) == len(set(before)) else ""
    assert applied(head + old, patch.fitted(head + old, each)) == head + new


def test_git_s_own_diffs_of_new_deleted_and_renamed_files_are_read() -> None:
    text = (
        "diff --git a/n.txt b/n.txt\nnew file mode 100644\nindex 000..1\n"
        "--- /dev/null\n+++ b/n.txt\n@@ -0,0 +1 @@\n+x\n"
        "diff --git a/o.txt b/o.txt\ndeleted file mode 100644\nindex 1..000\n"
        "--- a/o.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        "diff --git a/p b/q\nsimilarity index 50%\nrename from p\nrename to q\n--- a/p\n+++ b/q\n@@ -1 +1 @@\n-x\n+y\n"
    )
    assert [(each.kind, each.paths()) for each in patch.parse(text)] == [
        ("add", ["n.txt"]),
        ("delete", ["o.txt"]),
        ("update", ["p", "q"]),
    ]


def test_blanks_at_the_ends_of_lines_may_differ() -> None:
    [each] = patch.parse("*** Begin Patch\n*** Update File: a\n@@\n one\n-two\n+2\n*** End Patch")
    assert applied("one  \ntwo\t\nthree\n", patch.fitted("one  \ntwo\t\nthree\n", each)) == "one\n2\nthree\n"
    assert applied("one\ntwo", patch.fitted("one\ntwo", each)) == "one\n2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "changes no file"),
        ("hello", "changes no file"),
        ("*** Begin Patch\n*** Update File: a\n*** End Patch", "a has no changes"),
        ("*** Begin Patch\n*** Update File: a\n@@\nwrong\n*** End Patch", "starts with ' ', '-', '\\+' or '@@'"),
        ("*** Begin Patch\nwrong\n*** End Patch", "expected `\\*\\*\\* Update File"),
        ("*** Begin Patch\n*** Delete File: a\n*** Delete File: a\n*** End Patch", "names a twice"),
        ("--- a/f\n+++ b/f\n@@ -1,5 +1,5 @@\n-x\n+y\n", "no unified diff"),
    ],
)
def test_mistakes_are_explained(text: str, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        patch.parse(text)


def test_what_does_not_match_brings_the_nearest_lines() -> None:
    [each] = patch.parse("*** Begin Patch\n*** Update File: a\n@@\n-lamp = two\n+x\n*** End Patch")
    with pytest.raises(ToolError, match="part 1 of a does not match the file; the nearest is:\n    2 lamp = 2"):
        patch.fitted("first\nlamp = 2\n", each)


def test_an_added_line_without_context_goes_to_the_end() -> None:
    each = FilePatch("update", "a", hunks=[patch.Hunk([], ["x"])])
    assert applied("a\n", patch.fitted("a\n", each)) == "a\nx\n"
    assert applied("", patch.fitted("", each)) == "x\n"
