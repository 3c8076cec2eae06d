"""Hostile files are refused with their name: never a crash, a hang or a terminal escape."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syntor.documents import InvalidDocumentError, parse_yaml, read_text
from syntor.documents.models import DocumentModel
from syntor.documents.validation import validate

BOMB = "a: &a0 [x, x]\n" + "".join(f"b{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]\n" for n in range(1, 12))


@pytest.mark.parametrize(
    "text", ["a: !!bool foo", "a: !!int ''", "a: !!float _", "a: !!timestamp abc", "a: 2026-99-99"]
)
def test_a_file_that_cannot_be_constructed_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidDocumentError, match=r"config\.yaml"):
        parse_yaml(text, "config.yaml")


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(InvalidDocumentError, match="not a regular file"):
        read_text(tmp_path / "config.yaml")


def test_control_characters_of_a_key_are_escaped() -> None:
    document = parse_yaml('"\\e[31mx": 1', "config.yaml")
    assert document.name(("\x1b[31mx",)) == "\\x1b[31mx"


def test_a_value_that_aliases_multiply_is_shown_in_part() -> None:
    class Form(DocumentModel):
        b11: str

    with pytest.raises(InvalidDocumentError, match="b11"):
        validate(parse_yaml(BOMB, "config.yaml"), Form)


def test_an_integer_of_too_many_digits_is_refused() -> None:
    class Form(DocumentModel):
        a: str

    with pytest.raises(InvalidDocumentError, match="line 1: a"):
        validate(parse_yaml("a: 0x" + "f" * 6000, "config.yaml"), Form)
