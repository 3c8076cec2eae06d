"""What providers and external agents send, taken in: JSON that Python writes, and usage that may be anything.

Text shown to a person is never lost for a bookkeeping field: usage that cannot be is left out and reported, and the
call then counts as all that was reserved for it, so that no answer adds to a budget.
"""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar, cast

import msgspec

from syntor.contracts.bounds import MAX_COST_MICROUSD, MAX_TOKENS, well_formed
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.task.v1 import Usage

T = TypeVar("T")
_MAX_DIGITS = 100


def decode(data: str, kind: type[T]) -> T:
    """Read JSON as its writers write it: NaN, numbers of any length and lone surrogates are accepted.

    Raises:
        msgspec.DecodeError: not JSON, or not of this type.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except UNDECODABLE as exc:
        try:
            tree = json.loads(data, parse_int=_number)
        except (ValueError, RecursionError):
            raise msgspec.DecodeError(str(exc)) from exc
    return msgspec.convert(_well_formed(tree), kind)


def tree_of(data: str) -> Any:
    """Read JSON of any form as its writers write it; halves of surrogate pairs are kept for who joins the pieces.

    Raises:
        msgspec.DecodeError: it is not JSON.
    """
    try:
        return msgspec.json.decode(data)
    except UNDECODABLE:
        try:
            return json.loads(data, parse_int=_number)
        except (ValueError, RecursionError) as exc:
            raise msgspec.DecodeError(str(exc)) from exc


def _number(digits: str) -> float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)  # `int` refuses thousands of digits


def _well_formed(tree: Any) -> Any:
    if isinstance(tree, str):
        return well_formed(tree)
    if isinstance(tree, list):
        each_of = cast("list[Any]", tree)  # type: ignore[redundant-cast] # not for pyright
        return [_well_formed(each) for each in each_of]
    if isinstance(tree, dict):
        return {well_formed(name): _well_formed(each) for name, each in cast("dict[str, Any]", tree).items()}
    return tree


class Metered(msgspec.Struct, frozen=True):
    """Usage as it can be recorded."""

    usage: Usage
    refused: str = ""
    """Which number could not be, and what it was; empty: all could."""


def metered(
    input_tokens: object = None,
    output_tokens: object = None,
    cached_input_tokens: object = None,
    cost_microusd: object = None,
) -> Metered:
    """Return usage from numbers as they came; a missing one is 0, and one that cannot be leaves all of them out."""
    given = {
        "input_tokens": (input_tokens, MAX_TOKENS),
        "output_tokens": (output_tokens, MAX_TOKENS),
        "cached_input_tokens": (cached_input_tokens, MAX_TOKENS),
        "cost_microusd": (cost_microusd, MAX_COST_MICROUSD),
    }
    counted: dict[str, int] = {}
    for name, (value, most) in given.items():
        number = _whole(value)
        if number is None or not 0 <= number <= most:
            return Metered(Usage(), f"{name} is {repr(value)[:80]}, expected a whole number from 0 to {most}")
        counted[name] = number
    return Metered(Usage(**counted))


def metered_cost(tokens: Metered, cost_microusd: object) -> Metered:
    """Return counted tokens with what they cost; a cost that cannot be leaves all of it out."""
    usage = tokens.usage
    return metered(usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, cost_microusd)


def _whole(value: object) -> int | None:
    """Return a whole number; None: it is none."""
    if value is None:
        return 0
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else None
    return value if isinstance(value, int) else None
