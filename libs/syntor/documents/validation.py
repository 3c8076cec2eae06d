"""Validates a parsed file against a pydantic model, and says every error in one line a person can act on."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from syntor.documents.forms import EXPECTED
from syntor.documents.parsing import Document, FieldPath, nearest
from syntor.runtime.redaction import redact

Model = TypeVar("Model", bound=BaseModel)

_SHOWN = 80  # characters of a value that is not allowed


class _Shown(reprlib.Repr):
    """Values as YAML and JSON write them, not Python."""

    def repr_bool(self, value: object, _: int) -> str:
        return str(value).lower()

    def repr_NoneType(self, _: object, __: int) -> str:  # noqa: N802 - the name reprlib looks up
        return "null"


_REPR = _Shown()  # bounded: aliases of a YAML file may repeat a value without end
_REPR.maxlevel, _REPR.maxlist, _REPR.maxdict = 4, 8, 8
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 2 * _SHOWN
_KINDS = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "keys and values",
    "model": "keys and values",
    "finite": "a finite number",
}
"""What is allowed, by the first word of pydantic's error type (`string_type`, `int_from_float`, ...)."""
_BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "string_too_short": "a text of {min_length} characters or more",
    "string_too_long": "a text of {max_length} characters or fewer",
    "too_short": "{min_length} entries or more",
    "too_long": "{max_length} entries or fewer",
}


def validate(document: Document, model: type[Model], context: Mapping[str, object] | None = None) -> Model:
    """Return the file's content as its model.

    Args:
        context: what the model's validators look up.

    Raises:
        InvalidDocumentError: it is not of that form; lists all errors.
    """
    try:
        found = model.model_validate(document.content, context=dict(context or {}))
    except ValidationError as exc:
        problems = [(path, _reason(details, path, document, model)) for path, details in _located(exc)]
        raise document.invalid([*document.repeated, *problems]) from exc
    if document.repeated:
        raise document.invalid(document.repeated)
    return found


def _located(error: ValidationError) -> list[tuple[FieldPath, ErrorDetails]]:
    return [
        (tuple(str(part) for part in details["loc"] if part != "[key]"), details)
        for details in error.errors(include_url=False)
    ]


def problem_of(value: object, annotation: Any) -> str:
    """Return what is wrong with a single value; empty when nothing is."""
    try:
        TypeAdapter(annotation, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError as exc:
        return "; ".join(_reason(details, (), None, None) for details in exc.errors(include_url=False))
    return ""


def _reason(details: ErrorDetails, path: FieldPath, document: Document | None, model: type[BaseModel] | None) -> str:
    kind, context = details["type"], details.get("ctx", {})
    found = f"found {_shown(path[-1] if '[key]' in details['loc'] else details['input'])}"
    match kind:
        case "missing":
            return "is required, and missing"
        case "extra_forbidden" if model is not None and document is not None:
            return _unknown(path, document, model)
        case "literal_error":
            allowed = str(context["expected"]).replace("'", "")
            near = nearest(str(details["input"]), allowed.replace(" or ", ", ").split(", "))
            return f"expected {'one of ' if ', ' in allowed else ''}{allowed}, {found}{near and '; ' + near}"
        case "value_error":
            return str(context["error"])
        case _ if kind == EXPECTED:
            return f"expected {context['allowed']}, {found}"
        case _ if kind in _BOUNDS:
            return (
                f"expected {_BOUNDS[kind].format(**{name: _number(bound) for name, bound in context.items()})}, {found}"
            )
        case _ if kind.partition("_")[0] in _KINDS:
            return f"expected {_KINDS[kind.partition('_')[0]]}, {found}"
        case _:
            return f"{details['msg']}, {found}"


def _unknown(path: FieldPath, document: Document, model: type[BaseModel]) -> str:
    known = sorted(_names(model, path[:-1]))
    stem = f"{document.name(path[:-1])}." if path[:-1] else ""
    if near := nearest(path[-1], known, stem=stem):
        return f"unknown key; {near}"
    return f"unknown key; keys of {document.name(path[:-1])} are {', '.join(known)}"


def _names(model: type[BaseModel], path: FieldPath) -> set[str]:
    """Return the keys of the model at a path; list indexes and keys of mappings lead to their values' model."""
    models = {model}
    for part in path:
        inner = [field.annotation for each in models for name, field in _fields(each) if name == part]
        models = {found for annotation in inner for found in _models(annotation)} or models
    return {name for each in models for name, _ in _fields(each)}


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        yield field.alias or name, field


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _number(bound: object) -> object:
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _shown(value: object) -> str:
    """Return a value as an error shows it: short, and without credentials."""
    try:
        text = redact(_REPR.repr(value))
    except ValueError:  # an integer of more digits than Python converts
        text = f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
