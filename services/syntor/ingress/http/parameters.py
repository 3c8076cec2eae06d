"""Parameters of requests, each declared once: read from that declaration, and described by it.

Path parameters are named in a route's path, query parameters are the fields of a struct, header parameters stand in
the route's row.
"""

from __future__ import annotations

import re
from types import UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, cast, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta
from starlette.requests import Request

from syntor.contracts.bounds import MAX_POSITION, Token
from syntor.contracts.errors import NotFoundError
from syntor.contracts.http.v1 import FieldFault
from syntor.ingress.http.decoding import fault_of, unknown_name
from syntor.ingress.http.errors import InvalidFieldsError

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}\Z")

Q = TypeVar("Q", bound=msgspec.Struct)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Base of query parameters: a field is one parameter, a list field one that may be repeated."""


class QueryReader(Generic[Q]):
    """Reads query strings into a struct."""

    def __init__(self, struct: type[Q]) -> None:
        self._struct = struct
        self._fields = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}

    def read(self, query_string: bytes) -> Q:
        """Return the parameters of a query string; of one that is repeated and is no list the last value counts.

        Raises:
            InvalidFieldsError: a parameter is unknown or has an invalid value; names each.
        """
        if not query_string:
            return self._struct()
        values: dict[str, Any] = {}
        faults: list[FieldFault] = []
        for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
            annotation = self._fields.get(name)
            if annotation is None:
                faults.append(FieldFault(name, unknown_name(name, list(self._fields)) if self._fields else "unknown"))
            elif _is_list(annotation):
                values.setdefault(name, []).append(value)
            else:
                values[name] = value
        for name, value in values.items():
            try:
                values[name] = read_text(name, value, self._fields[name])
            except InvalidFieldsError as exc:
                faults += exc.faults
        if faults:
            raise InvalidFieldsError(faults)
        return self._struct(**values)


class HeaderParameter(msgspec.Struct, frozen=True, kw_only=True):
    """A request header an operation reads."""

    name: str
    annotation: Any
    """Bounded type of its value."""
    description: str

    def read(self, request: Request) -> Any:
        """Return its value, or None where the request does not have it.

        Raises:
            InvalidFieldsError: the value is invalid.
        """
        text = request.headers.get(self.name, "").strip()
        return read_text(self.name, text, self.annotation) if text else None


class PathParameter(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a path."""

    annotation: Any
    noun: str
    """What it identifies."""

    def check(self, text: str) -> None:
        """Accept a value.

        Raises:
            NotFoundError: the value cannot identify anything.
        """
        try:
            read_text("", text, self.annotation)
        except InvalidFieldsError as exc:
            raise NotFoundError(f"no {self.noun} {text!r}") from exc


PATH_PARAMETERS = {
    "run_id": PathParameter(annotation=Token, noun="run"),
    "session_id": PathParameter(annotation=Token, noun="session"),
    "agent_id": PathParameter(annotation=Token, noun="agent"),
    "approval_id": PathParameter(annotation=Token, noun="approval"),
    "question_id": PathParameter(annotation=Token, noun="question"),
    "call": PathParameter(annotation=Token, noun="tool call"),
    "number": PathParameter(annotation=Annotated[int, Meta(ge=1, le=MAX_POSITION)], noun="dead letter"),
    "code": PathParameter(annotation=Annotated[str, Meta(min_length=1, max_length=64)], noun="problem"),
}
"""Every name in braces that a path may have."""


def read_text(name: str, value: str | list[str], annotation: Any) -> Any:
    """Return the value a parameter's text stands for.

    Raises:
        InvalidFieldsError: it is not of the type or out of its bounds; names parameter, bounds and value.
    """
    number = _number_bounds(annotation)
    if number is not None:
        return _whole_number(name, cast("str", value), *number)
    try:
        return msgspec.convert(value, annotation, strict=False)
    except msgspec.ValidationError as exc:
        raise InvalidFieldsError([fault_of(name, value, annotation, exc)]) from exc


def _whole_number(name: str, text: str, least: int, most: int) -> int:
    if _WHOLE_NUMBER.match(text) is None or not least <= int(text) <= most:
        message = f"expected a whole number from {least} to {most}, found {text!r}"
        raise InvalidFieldsError([FieldFault(name, message)])
    return int(text)


def _number_bounds(annotation: Any) -> tuple[int, int] | None:
    """Return the bounds of a type that is a bounded integer, None for any other."""
    if get_origin(annotation) is Annotated:
        base, *metas = get_args(annotation)
        if base is int:
            least = next((meta.ge for meta in metas if meta.ge is not None), -MAX_POSITION)
            return least, next((meta.le for meta in metas if meta.le is not None), MAX_POSITION)
        return None
    if get_origin(annotation) in (Union, UnionType):
        found = [bounds for one in get_args(annotation) if (bounds := _number_bounds(one)) is not None]
        return found[0] if found else None
    return None


def _is_list(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _is_list(get_args(annotation)[0])
    return get_origin(annotation) is list
