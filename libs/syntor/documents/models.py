"""Pydantic models of hand-written files: their base class, and the models derived from Structs."""

from __future__ import annotations

import re
import types
from functools import cache
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model
from pydantic_core import PydanticCustomError

from syntor.documents.forms import EXPECTED


class DocumentModel(BaseModel):
    """A mapping in a file: no unknown keys, no conversions between types, immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def expectation(allowed: str) -> PydanticCustomError:
    """Return the error to raise in a validator; it is shown as `expected <allowed>, found <value>`."""
    return PydanticCustomError(EXPECTED, "expected {allowed}", {"allowed": allowed})


def Matching(pattern: re.Pattern[str], allowed: str) -> AfterValidator:  # noqa: N802 - reads as a type's annotation
    """Return the annotation of a text that matches a pattern from its start; `allowed` says it to people."""

    def check(text: str) -> str:
        if not pattern.match(text):
            raise expectation(allowed)
        return text

    return AfterValidator(check)


@cache
def model_of(form: type[msgspec.Struct]) -> type[DocumentModel]:
    """Return the model that validates what becomes a Struct: the same keys, types and bounds.

    Defaults are the Struct's: a dump without unset fields leaves them out.
    """
    fields: dict[str, Any] = {
        field.name: (annotation_of(field.type), Field(... if field.required else None, alias=field.encode_name))
        for field in msgspec.structs.fields(form)
    }
    return create_model(form.__name__, __base__=DocumentModel, **fields)


def annotation_of(annotation: Any) -> Any:
    """Return a Struct's annotation as pydantic reads it: Structs as models, `msgspec.Meta` as constraints."""
    origin: Any = get_origin(annotation)
    arguments = get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return model_of(annotation)
    if origin is Annotated:
        extras = [part for extra in arguments[1:] for part in _constraints(extra)]
        inner = annotation_of(arguments[0])
        return Annotated[(inner, *extras)] if extras else inner
    if origin is None or origin is Literal:
        return cast("Any", annotation)
    inner_types = tuple(annotation_of(argument) for argument in arguments)
    return Union[inner_types] if origin in (Union, types.UnionType) else origin[inner_types]  # noqa: UP007 - made of a tuple


def _constraints(extra: Any) -> list[Any]:
    if not isinstance(extra, msgspec.Meta):
        return [extra]
    bounds = {name: getattr(extra, name) for name in ("ge", "gt", "le", "lt", "min_length", "max_length")}
    found: list[Any] = [Field(**bounds)] if any(bound is not None for bound in bounds.values()) else []
    if extra.pattern is not None:
        found.append(Matching(re.compile(extra.pattern), (extra.extra or {})[EXPECTED]))
    return found
