"""Subject filters of NATS. Filters that are used for long are compiled; those of one aggregate are not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache

_TOKENS = {"*": r"[^.]+", ">": r".+"}
Matches = Callable[[str], object]
"""Predicate on a subject."""


@cache
def matches_any(filter_subjects: Sequence[str]) -> Matches:
    """Return a predicate: whether a subject matches any of the filters; none: every subject does."""
    if not filter_subjects:
        return len
    return re.compile("|".join(_pattern(each) for each in filter_subjects)).fullmatch


def _pattern(filter_subject: str) -> str:
    return r"\.".join(_TOKENS.get(token) or re.escape(token) for token in filter_subject.split("."))


def matches(filter_subject: str) -> Matches:
    """Return a predicate: whether a subject matches a filter."""
    wanted = filter_subject.split(".")
    if wanted[-1] != ">":
        count = len(wanted)
        fixed = [(number, token) for number, token in enumerate(wanted) if token != "*"]

        def whole(subject: str) -> bool:
            found = subject.split(".")
            return len(found) == count and all(found[number] == token for number, token in fixed)

        return whole
    least = len(wanted)
    fixed = [(number, token) for number, token in enumerate(wanted[:-1]) if token != "*"]

    def beginning(subject: str) -> bool:
        found = subject.split(".")
        return len(found) >= least and all(found[number] == token for number, token in fixed)

    return beginning


@lru_cache(4096)
def literal_prefix(filter_subject: str) -> str:
    """Return the tokens before the first wildcard, each with its dot; the whole filter where it has no wildcard."""
    tokens = filter_subject.split(".")
    for number, token in enumerate(tokens):
        if token in ("*", ">"):
            return "".join(f"{each}." for each in tokens[:number])
    return filter_subject


def is_prefix_filter(filter_subject: str) -> bool:
    """Return whether a filter is a literal prefix followed by `>`."""
    return filter_subject.endswith(".>") and "*" not in filter_subject and filter_subject.count(">") == 1
