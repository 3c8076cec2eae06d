"""A form is written once, as a Struct: pydantic and msgspec enforce the same bounds of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from syntor.documents import Check, InvalidDocumentError, matching, parse_yaml, read_as, value_problem


def _check(text: str, context: Mapping[str, Any]) -> None:
    if text not in context["known"]:
        raise ValueError(f"unknown {text!r}")


class _Renamed(msgspec.Struct, frozen=True, rename="kebab"):
    first_word: str = ""


Word = Annotated[str, matching(r"[a-z]+\Z", "small letters", max_length=8)]
Count = Annotated[int, Meta(ge=1, le=9)]


class _Inner(msgspec.Struct, frozen=True):
    word: Word
    share: Annotated[float, Meta(gt=0, lt=1)] | None = None


class _File(msgspec.Struct, frozen=True):
    kind: Literal["lamp", "door"]
    count: Count = 3
    inner: _Inner = _Inner("x")
    items: Annotated[list[_Inner], Meta(min_length=1, max_length=2)] = []
    named: dict[Word, Count | None] = {}
    known: Annotated[str, Meta(max_length=8), Check(_check)] = "a"
    anything: dict[str, Any] = {}


def _read(text: str) -> _File:
    return read_as(parse_yaml(text, "x"), _File, {"known": ["a", "b"]})


def test_a_file_becomes_the_struct_with_its_defaults() -> None:
    assert _read("kind: lamp") == _File("lamp")
    text = "kind: door\ncount: 9\ninner: {word: y, share: 0.5}\nitems: [{word: z}]\nnamed: {a: 1, b: null}\nknown: b\n"
    assert _read(text) == _File("door", 9, _Inner("y", 0.5), [_Inner("z")], {"a": 1, "b": None}, "b")
    assert _read("kind: door\nanything: {x: [1, {y: null}]}").anything == {"x": [1, {"y": None}]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "kind: is required, and missing"),
        ("kind: lmp", "kind: expected lamp or door, found 'lmp'; did you mean lamp?"),
        ("kind: lamp\ncount: 0", "count: expected 1 or more, found 0"),
        ("kind: lamp\ncount: '5'", "count: expected a whole number, found '5'"),
        ("kind: lamp\ninner: {word: A}", "inner.word: expected small letters, found 'A'"),
        ("kind: lamp\ninner: {word: a, shar: 1}", "inner.shar: unknown key; did you mean inner.share?"),
        ("kind: lamp\ninner: {word: a, share: 1}", "inner.share: expected less than 1, found 1"),
        ("kind: lamp\nitems: []", "items: expected 1 entries or more, found []"),
        ("kind: lamp\nitems: [{word: abcdefghi}]", "items[0].word: expected a text of 8 characters or fewer"),
        ("kind: lamp\nnamed: {A: 1}", "named.A: expected small letters, found 'A'"),
        ("kind: lamp\nnamed: {a: 10}", "named.a: expected 9 or less, found 10"),
        ("kind: lamp\nknown: c", "known: unknown 'c'"),
    ],
)
def test_every_bound_of_the_struct_is_enforced(text: str, says: str) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        _read(text)
    [problem] = caught.value.problems
    assert says in problem


def test_a_renamed_field_is_read_and_named_by_its_key() -> None:
    assert read_as(parse_yaml("first-word: a", "x"), _Renamed) == _Renamed("a")
    with pytest.raises(InvalidDocumentError, match=r"line 1: first_word: unknown key; did you mean first-word\?"):
        read_as(parse_yaml("first_word: a", "x"), _Renamed)


VALUES = [None, True, 0, 1, 9, 10, 0.5, 1.0, "", "a", "A", "a\n", "abcdefgh", "abcdefghi", "lamp", [], ["a"], ["A"]]
ANNOTATIONS: list[Any] = [
    *(Word, Count, Literal["a", "lamp"], bool, str, Annotated[list[Word], Meta(max_length=1)]),
    Annotated[str | None, "a note"],
]


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_pydantic_finds_a_problem_exactly_where_msgspec_does(annotation: Any) -> None:
    for value in VALUES:
        assert bool(value_problem(value, annotation)) is not _converts(value, annotation), value


def _converts(value: object, annotation: Any) -> bool:
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        return False
    return True
