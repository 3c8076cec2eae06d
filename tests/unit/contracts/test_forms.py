"""Forms of questions: what a schema asks for, and which values fit it; and what is shown of hostile text."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.contracts.forms import FormError, check_values, fields_of, parse_text
from syntor.contracts.visible_text import visible, visible_line

FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2, "maxLength": 5},
        "count": {"type": "integer", "minimum": 1, "default": 3},
        "share": {"type": "number"},
        "sure": {"type": "boolean"},
        "colour": {"type": "string", "enum": ["r", "b"], "enumNames": ["Red", "Blue"]},
        "sizes": {"type": "array", "items": {"anyOf": [{"const": "s", "title": "Small"}, {"const": "l"}]}},
    },
    "required": ["name"],
}
FIELDS = {field.name: field for field in fields_of(FORM)}


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("name", " Ann ", "Ann"),
        ("count", "4", 4),
        ("count", "", 3),
        ("share", "0.5", 0.5),
        ("sure", "yes", True),
        ("colour", "2", "b"),
        ("colour", "Red", "r"),
        ("sizes", "1, l", ["s", "l"]),
    ],
)
def test_what_is_typed_becomes_a_value_that_fits(name: str, typed: str, value: Any) -> None:
    assert parse_text(FIELDS[name], typed) == value
    check_values(list(FIELDS.values()), {"name": "Ann", name: value})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "name: required"),
        ({"name": "A"}, "at least 2 characters"),
        ({"name": "Ann", "count": True}, "a whole number"),
        ({"name": "Ann", "count": 0}, "at least 1"),
        ({"name": "Ann", "colour": "green"}, "one of r, b"),
        ({"name": "Ann", "sizes": ["m"]}, "a list of s, l"),
        ({"name": "Ann", "sizes": 1}, "a list"),
        ({"name": "Ann", "age": 1}, "age: the form has name"),
    ],
)
def test_values_that_do_not_fit_are_named(values: dict[str, Any], says: str) -> None:
    with pytest.raises(FormError, match=says):
        check_values(list(FIELDS.values()), values)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array"},
        {"properties": {"a": {"type": "object"}}},
        {"properties": []},
        {"properties": {"a": 1}},
        {"properties": {str(number): {} for number in range(101)}},
    ],
)
def test_what_is_no_form_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(FormError):
        fields_of(schema)


@given(st.text())
def test_nothing_in_visible_text_is_hidden(text: str) -> None:
    shown = visible(text)
    assert all(each in "\n\t" or unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Co", "Zl") for each in shown)
    assert visible(shown) == shown
    assert "\n" not in visible_line(text, 20)


def test_escapes_and_bidirectional_controls_are_shown() -> None:
    assert visible("a\x1b[2K\u202eb\u200b") == "a<U+001B>[2K<U+202E>b<U+200B>"
