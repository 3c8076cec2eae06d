"""A diff is shown whole: line numbers, signs, and the words that changed."""

from __future__ import annotations

import difflib

from hypothesis import given
from hypothesis import strategies as st

from syntor.cli.diff_view import DiffLine, Part, diff_lines, is_diff

DIFF = """--- a/lamp.py
+++ b/lamp.py
@@ -8,3 +8,3 @@
 def on():
-    return power(1)
+    return power(2)
 # end"""


def test_lines_have_numbers_and_changed_words() -> None:
    kinds = [(line.kind, line.number, line.text) for line in diff_lines(DIFF)]
    assert kinds == [
        ("heading", 0, "--- a/lamp.py"),
        ("heading", 0, "+++ b/lamp.py"),
        ("heading", 0, "@@ -8,3 +8,3 @@"),
        ("kept", 8, "def on():"),
        ("removed", 9, "    return power(1)"),
        ("added", 9, "    return power(2)"),
        ("kept", 10, "# end"),
    ]
    removed, added = diff_lines(DIFF)[4:6]
    assert [part.text for part in removed.parts if part.changed] == ["1"]
    assert [part.text for part in added.parts if part.changed] == ["2"]


def test_lines_without_likeness_have_no_marks() -> None:
    lines = diff_lines("@@ -1 +1 @@\n-alpha beta\n+0 1 2 3 4 5")
    assert lines[1:] == [
        DiffLine("removed", 1, (Part("alpha beta", changed=False),)),
        DiffLine("added", 1, (Part("0 1 2 3 4 5", changed=False),)),
    ]


_FILE = st.lists(st.text(alphabet="ab -+@\\", max_size=8), max_size=12)


@given(_FILE, _FILE)
def test_nothing_of_a_diff_is_left_out(before: list[str], after: list[str]) -> None:
    text = "\n".join(difflib.unified_diff(before, after, "a/f", "b/f", lineterm=""))
    signs = {"added": "+", "removed": "-", "kept": " ", "heading": ""}
    shown = [signs[line.kind] + line.text for line in diff_lines(text)]
    assert sorted(shown) == sorted(text.split("\n"))
    assert is_diff(text) == (before != after)
