"""Ids are tokens, sort by time, and derive from a key."""

from hypothesis import given
from hypothesis import strategies as st

from syntor.contracts.ids import ID_LENGTH, derived_id, is_token, new_id


def test_new_ids_are_tokens_and_differ() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_token(id_) and len(id_) == ID_LENGTH for id_ in ids)


def test_an_id_of_a_later_millisecond_sorts_after() -> None:
    ids = [new_id() for _ in range(200)]
    prefixes = [id_[:9] for id_ in ids]
    assert prefixes == sorted(prefixes)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_the_same_parts_derive_the_same_id(parts: list[str]) -> None:
    assert derived_id(*parts) == derived_id(*parts)
    assert is_token(derived_id(*parts))


def test_derived_ids_are_stable_across_releases() -> None:
    assert derived_id("run", "key-1") == "67a29kkw38mzdk4epry9hwd7ym"


def test_the_split_into_parts_matters() -> None:
    assert derived_id("ab", "c") != derived_id("a", "bc")


def test_dots_spaces_wildcards_and_empty_are_no_tokens() -> None:
    assert not any(is_token(text) for text in ("", "a.b", "a b", "*", ">", "ä", "x" * 65, "a\n"))
