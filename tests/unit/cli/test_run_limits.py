"""Limits of a run are numbers above 0, or left out."""

from __future__ import annotations

import os

import pytest

from syntor.cli.main import main


@pytest.mark.parametrize(
    "arguments",
    [
        ("--max-tokens", "0"),
        ("--max-tokens", "-5"),
        ("--max-turns", "0"),
        ("--max-cost", "nan"),
        ("--max-cost", "inf"),
        ("--timeout", "0"),
        ("--timeout", "nan"),
        ("--timeout", "-inf"),
    ],
)
def test_a_limit_that_limits_nothing_is_refused_before_anything_starts(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTOR_URL", "http://127.0.0.1:9")
    with open(os.devnull, encoding="utf-8") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert main(["chat", *arguments, "x"]) == 2
    said = capsys.readouterr().err
    assert f"{arguments[0]} " in said
    assert "expected a number above 0; leave it out for no limit" in said
