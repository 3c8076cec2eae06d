"""Each error names file, line, field, the value and what is allowed; all errors of a file are listed."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from syntor.documents import InvalidDocumentError, parse_yaml
from syntor.documents.models import DocumentModel
from syntor.documents.validation import validate


class _Inner(DocumentModel):
    count: Annotated[int, Field(ge=1, le=9)] = 1
    name: Annotated[str, Field(min_length=1, max_length=5)] = "x"


class _File(DocumentModel):
    kind: Literal["lamp", "door"]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    lit: bool = False
    inner: _Inner = _Inner()
    items: Annotated[list[_Inner], Field(max_length=2)] = []
    named: dict[str, _Inner] = {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "x.yaml, line 1: kind: is required, and missing"),
        ("[]", "x.yaml, line 1: the file: expected keys and values, found []"),
        ("kind: lmp", "x.yaml, line 1: kind: expected lamp or door, found 'lmp'; did you mean lamp?"),
        ("kind: null", "kind: expected lamp or door, found null"),
        ("kind: [true, null, a]", "kind: expected lamp or door, found [true, null, 'a']"),
        ("kind: 7", "kind: expected lamp or door, found 7"),
        ("kind: lamp\nshare: 1", "x.yaml, line 2: share: expected less than 1, found 1"),
        ("kind: lamp\nshare: .nan", "share: expected a finite number, found nan"),
        ("kind: lamp\nshare: much", "share: expected a number, found 'much'"),
        ("kind: lamp\nlit: 1", "lit: expected true or false, found 1"),
        ("kind: lamp\ninner: {count: 0}", "inner.count: expected 1 or more, found 0"),
        ("kind: lamp\ninner: {count: 2.5}", "inner.count: expected a whole number, found 2.5"),
        ("kind: lamp\ninner: {count: 1, name: ''}", "inner.name: expected a text of 1 characters or more, found ''"),
        ("kind: lamp\nitems:\n- {}\n- {coun: 1}", "line 4: items[1].coun: unknown key; did you mean items[1].count?"),
        ("kind: lamp\nitems: [{}, {}, {}]", "items: expected 2 entries or fewer, found "),
        ("kind: lamp\nnamed: {a: {zzz: 1}}", "named.a.zzz: unknown key; keys of named.a are count, name"),
        ("kind: lamp\nnamed: 5", "named: expected keys and values, found 5"),
        ("kind: lamp\nshar: 1", "x.yaml, line 2: shar: unknown key; did you mean share?"),
        ("kind: lamp\non: yes", "x.yaml, line 2: on: unknown key"),
    ],
)
def test_an_error_says_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        validate(parse_yaml(text, "x.yaml"), _File)
    assert says in str(caught.value)
    assert len(caught.value.problems) == 1


def test_all_errors_are_listed_in_the_order_of_the_file() -> None:
    text = "kind: lamp\nzzz: 1\ninner:\n  name: toolong\n  count: 0\n  count: 10\nlit: 5\n"
    with pytest.raises(InvalidDocumentError) as caught:
        validate(parse_yaml(text, "x"), _File)
    assert [line.split(": ")[0:2] for line in caught.value.problems] == [
        ["x, line 2", "zzz"],
        ["x, line 4", "inner.name"],
        ["x, line 6", "inner.count"],
        ["x, line 6", "inner.count"],
        ["x, line 7", "lit"],
    ]


def test_a_value_is_shown_short_and_without_credentials() -> None:
    secret = "sk-" + "a1B2" * 10
    with pytest.raises(InvalidDocumentError) as caught:
        validate(parse_yaml(f"kind: {secret}\nshare: {'x' * 500}\n", "x"), _File)
    assert secret not in str(caught.value)
    assert all(len(line) < 200 for line in caught.value.problems)
