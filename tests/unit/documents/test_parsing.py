"""Values carry their lines, and what is not YAML or JSON is refused with the line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.documents import Document, InvalidDocumentError, parse_json, parse_yaml, read_text

JSON_TEXT = """{
\t"a": [1,
\t\t{"b": "x\\"]}"}
\t],
\t"c": {"d": null,
\t\t"e": []}
}"""


def test_every_value_of_a_json_text_has_its_line() -> None:
    document = parse_json(JSON_TEXT, "x.json")
    lines = {".".join(path): line for path, line in document.lines.items()}
    assert lines == {"": 1, "a": 2, "a.0": 2, "a.1": 3, "a.1.b": 3, "c": 5, "c.d": 5, "c.e": 6}


def test_every_value_of_a_yaml_text_has_its_line() -> None:
    document = parse_yaml("a:\n  - 1\n  - b: x\nc: {d: 1,\n  e: 2}\n", "x.yaml", first_line=10)
    lines = {".".join(path): line for path, line in document.lines.items()}
    assert lines == {"": 10, "a": 10, "a.0": 11, "a.1": 12, "a.1.b": 12, "c": 13, "c.d": 13, "c.e": 14}


def test_what_is_missing_has_the_line_of_what_it_is_missing_from() -> None:
    assert parse_yaml("a: 1\nb:\n  c: 1\n", "x").line(("b", "d", "e")) == 2


@pytest.mark.parametrize("parse", [parse_yaml, parse_json])
def test_a_key_that_is_set_twice_is_noted(parse: Callable[[str, str], Document]) -> None:
    document = parse('{"a": 1, "b": {"a": 1,\n"a": 2}}', "x")
    assert document.repeated == ((("b", "a"), "is set twice"),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "x, line 1: "),
        ("a: 1\n---\nb: 2\n", "x, line 2: "),
        ("a: !!python/object:os.system x\n", "x, line 1: could not determine a constructor"),
        ("? [a]\n: b\n", "x, line 1: "),
        ("a: b\nc: [1, {d: 2026-99-99}]\n", "x, line 2: not YAML: '2026-99-99': month"),
        ("a: 1\nb: !!bool foo\n", "x, line 2: not YAML: 'foo'"),
        ("a: 1\n\nb: \x07\n", "x, line 3: character 0x0007 is not allowed"),
        ("[" * 5000, "x, line 1: nested too deeply"),
    ],
)
def test_what_is_not_yaml_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        parse_yaml(text, "x")
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "x, line 1: not JSON"), ('{\n"a": }', "x, line 2: not JSON"), ("[" * 100_000, "x: not JSON")],
)
def test_what_is_not_json_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        parse_json(text, "x")
    assert str(caught.value).startswith(says)


def test_aliases_that_multiply_cost_nothing() -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30))
    assert len(parse_yaml(f"l0: &l0 [x, x]\n{levels}\n", "x").lines) < 1000


def test_a_file_is_read_without_its_mark_and_only_up_to_a_size(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbfa")
    assert read_text(path) == "a"
    path.write_bytes(b"x" * (1024 * 1024 + 1))
    with pytest.raises(InvalidDocumentError, match="larger than 1024 KiB"):
        read_text(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.sampled_from([None, 1, "\t"]))
def test_the_lines_of_json_are_those_it_is_written_on(value: object, indent: str | int | None) -> None:
    text = json.dumps(value, indent=indent)
    document = parse_json(text, "x")
    assert document.content == value
    paths = list(_paths(value, ()))
    assert set(document.lines) == set(paths)
    if indent is not None and value not in ([], {}):
        assert list(document.lines.values()) == sorted(document.lines.values())
        assert max(document.lines.values()) <= text.count("\n") + 1


def _paths(value: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += _paths(inner, (*path, str(key)))
    if isinstance(value, list):
        for index, inner in enumerate(value):
            found += _paths(inner, (*path, str(index)))
    return found
