"""Words with unknown parts: what they become, and what texts they can be."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.agentkit.domain.permissions import words as w

SIGNS = {w.ANY: ".*", w.STAR: "[^/]*", w.ONE: "[^/]"}


@given(st.text(alphabet=f"ab/{w.ANY}{w.STAR}{w.ONE}", max_size=8), st.text(alphabet="ab/", max_size=8))
def test_a_word_can_be_what_its_pattern_matches(word: str, text: str) -> None:
    pattern = "".join(SIGNS.get(sign, re.escape(sign)) for sign in word)
    assert w.can_be(word, text) is (re.fullmatch(pattern, text, re.DOTALL) is not None)


@pytest.mark.timeout(30)
def test_many_wildcards_take_no_long_search() -> None:
    assert not w.can_be(f"{w.STAR}a" * 200 + "b", "a" * 4000)
    assert w.can_be(f"{w.ANY}a{w.ONE}" * 200, "aa" * 2000)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("a{b,c}d", ["abd", "acd"]),
        ("{a,b}{1..3}", ["a1", "a2", "a3", "b1", "b2", "b3"]),
        ("{3..1}", ["3", "2", "1"]),
        ("{x}{a,{b,c}}", ["{x}a", "{x}b", "{x}c"]),
        ("{1..1000}", [w.ANY]),
        ("{a,b}" * 7, [w.ANY]),
        ("{a,}", ["a"]),
    ],
)
def test_braces_are_expanded_as_bash_does(raw: str, words: list[str]) -> None:
    marked = raw.replace("{", w.OPEN).replace(",", w.COMMA).replace("}", w.CLOSE)
    assert list(dict.fromkeys(w.finished(marked))) == words
