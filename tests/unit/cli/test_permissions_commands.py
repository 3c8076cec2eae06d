"""`syntor permissions` says which rule decides about which part, and where the rule comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from syntor.cli.main import main
from syntor.configuration.folder_rules import allow_in


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "config.yaml").write_text("permissions:\n  deny:\n    - bash(git push *)\n  ask: [edit_file]\n")
    monkeypatch.setenv("SYNTOR_HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["permissions", *arguments, "-o", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_each_part_has_its_rule_and_the_place_it_comes_from(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    allow_in(home, tmp_path, "bash(make *)")
    tested = _json(capsys, "test", "make test && FOO=1 git -C x push", "--mode", "auto")
    assert tested["decision"] == "deny"
    assert tested["reason"] == "rule bash(git push *) denies it: `git -C x push`, part 2 of 2"
    make, push = tested["parts"]
    assert (make["decision"], make["rule"]) == ("allow", "bash(make *)")
    assert make["source"].startswith(f"folder {tmp_path} ")
    assert (push["decision"], push["source"]) == ("deny", f"user ({home / 'config.yaml'}, line 2)")


def test_other_tools_are_judged_by_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert _json(capsys, "test", "a.py", "--tool", "edit_file", "--mode", "auto")["reason"] == "rule edit_file asks"
    assert _json(capsys, "test", ".env", "--tool", "read_file")["decision"] == "deny"
    assert _json(capsys, "test", ".syntor/x", "--tool", "write_file", "--mode", "auto")["decision"] == "ask"


def test_rules_are_listed_in_the_order_they_decide(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    allow_in(home, tmp_path, "bash(make *)")
    listed = _json(capsys, "list")
    assert [(each["list"], each["rule"]) for each in listed["rules"]] == [
        ("deny", "bash(git push *)"),
        ("ask", "edit_file"),
        ("allow", "bash(make *)"),
    ]


def test_wrong_options_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["permissions", "test", "ls", "--mode", "x"]) == 2
    assert main(["permissions", "test", "ls", "--tool", "x"]) == 2
    assert main(["permissions", "test", "ls", "--cwd", "/does/not/exist"]) == 2
