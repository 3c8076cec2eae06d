"""Every number of the contracts has bounds, and every text, list and mapping a largest size."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from syntor.contracts import bounds
from syntor.contracts.bounds import clip
from syntor.contracts.envelope import Envelope
from syntor.contracts.events import CATALOGUE
from syntor.contracts.http import v1 as http
from syntor.contracts.rpc import v1 as rpc


def _structs(module: ModuleType) -> list[type[msgspec.Struct]]:
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, msgspec.Struct)]
    return [struct for struct in found if struct.__module__ == module.__name__]


STRUCTS = [Envelope, *(row.struct for row in CATALOGUE.rows()), *_structs(rpc), *_structs(http)]


def _unbounded(type_: Any, path: str, seen: frozenset[Any] = frozenset()) -> Iterator[str]:
    match type_:
        case inspect.IntType() | inspect.FloatType():
            if (type_.ge is None and type_.gt is None) or (type_.le is None and type_.lt is None):
                yield path
        case inspect.StrType():
            if type_.max_length is None:
                yield path
        case inspect.ListType():
            if type_.max_length is None:
                yield path
            yield from _unbounded(type_.item_type, f"{path}[]", seen)
        case inspect.DictType():
            if type_.max_length is None:
                yield path
            yield from _unbounded(type_.key_type, f"{path}{{}}", seen)
            yield from _unbounded(type_.value_type, f"{path}{{}}", seen)
        case inspect.UnionType():
            for one in type_.types:
                yield from _unbounded(one, path, seen)
        case inspect.StructType() if type_.cls not in seen:
            for field in type_.fields:
                yield from _unbounded(field.type, f"{path}.{field.name}", seen | {type_.cls})
        case _:
            return


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: f"{struct.__module__.split('.')[-2]}.{struct.__name__}")
def test_every_field_is_bounded(struct: type[msgspec.Struct]) -> None:
    assert list(_unbounded(inspect.type_info(struct), struct.__name__)) == []


def test_a_text_is_clipped_in_its_middle_and_says_so() -> None:
    assert clip("short") == "short"
    cut = clip("x" * 100 + "y" * 100, 100)
    assert len(cut) <= 100
    assert "200 characters" in cut
    assert cut.startswith("x")
    assert cut.endswith("y")
    assert len(clip("z" * (bounds.MAX_MESSAGE + 1))) <= bounds.MAX_MESSAGE
