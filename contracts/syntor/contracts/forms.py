"""Forms: JSON schemas of an object with simple properties, which a question may carry, and checks of their values.

The subset is that of elicitation in the Model Context Protocol: texts, numbers, booleans, and one or several of a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

FieldKind = Literal["string", "number", "integer", "boolean", "choice", "choices"]
MAX_FIELDS = 100


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One property of a form."""

    name: str
    kind: FieldKind
    title: str = ""
    description: str = ""
    required: bool = False
    default: Any = None
    choices: list[str] = []
    """Values of a field of kind choice or choices."""
    labels: list[str] = []
    """What is shown for each of `choices`."""
    minimum: float | None = None
    """Least number, or least length or count."""
    maximum: float | None = None


class FormError(ValueError):
    """A schema is no form, or values do not fit it."""


class _Option(msgspec.Struct, frozen=True):
    const: Any = msgspec.UNSET
    title: str = ""


class _Listed(msgspec.Struct, frozen=True, rename="camel"):
    """What may enumerate values: a property, or the items of one."""

    enum: list[Any] = []
    one_of: list[_Option] = []
    any_of: list[_Option] = []

    def options(self) -> list[_Option]:
        """Return the values, each with what is shown for it."""
        known = [each for each in (*self.one_of, *self.any_of) if each.const is not msgspec.UNSET]
        return [_Option(const=each) for each in self.enum] or known


class _Property(_Listed, frozen=True, rename="camel"):
    type: str = "string"
    title: str = ""
    description: str = ""
    default: Any = None
    enum_names: list[Any] = []
    items: _Listed = _Listed()
    minimum: float | None = None
    maximum: float | None = None
    min_length: float | None = None
    max_length: float | None = None
    min_items: float | None = None
    max_items: float | None = None


class _Form(msgspec.Struct, frozen=True):
    type: Literal["object"] = "object"
    properties: dict[str, _Property] = {}
    required: list[str] = []


def fields_of(schema: Mapping[str, Any]) -> list[Field]:
    """Return the fields of a form, in order.

    Raises:
        FormError: it is no object of simple properties.
    """
    try:
        form = msgspec.convert(schema, _Form)
    except msgspec.ValidationError as exc:
        raise FormError(f"a form is a JSON schema of an object with simple properties: {exc}") from exc
    if len(form.properties) > MAX_FIELDS:
        raise FormError(f"a form has at most {MAX_FIELDS} fields, not {len(form.properties)}")
    return [_field(name, each, required=name in form.required) for name, each in form.properties.items()]


def _field(name: str, schema: _Property, *, required: bool) -> Field:
    options = (schema.items if schema.type == "array" else schema).options()
    labels = [str(each.title or each.const) for each in options]
    if len(schema.enum_names) == len(options):
        labels = [str(each) for each in schema.enum_names]
    kind: FieldKind
    match schema.type:
        case "array" if options:
            kind = "choices"
        case "string" if options:
            kind = "choice"
        case "string" | "number" | "integer" | "boolean":
            kind = schema.type
        case _:
            raise FormError(f"field {name}: a form has no fields of type {schema.type!r}")
    return Field(
        name=name,
        kind=kind,
        title=schema.title,
        description=schema.description,
        required=required,
        default=schema.default,
        choices=[str(each.const) for each in options],
        labels=labels,
        minimum=_first(schema.minimum, schema.min_length, schema.min_items),
        maximum=_first(schema.maximum, schema.max_length, schema.max_items),
    )


def _first(*limits: float | None) -> float | None:
    return next((each for each in limits if each is not None), None)


def check_values(fields: list[Field], values: Mapping[str, Any]) -> None:
    """Check the values of a form.

    Raises:
        FormError: one is missing, unknown or wrong; names it and what is expected.
    """
    known = {field.name: field for field in fields}
    for name in values:
        if name not in known:
            raise FormError(f"{name}: the form has {', '.join(known) or 'no fields'}")
    for field in fields:
        if values.get(field.name) is None:
            if field.required:
                raise FormError(f"{field.name}: required")
            continue
        if expected := _expected(field, values[field.name]):
            raise FormError(f"{field.name}: expected {expected}")


def _expected(field: Field, value: Any) -> str:
    """Return what a field expects where a value is wrong, else an empty text."""
    match field.kind:
        case "boolean":
            return "" if isinstance(value, bool) else "true or false"
        case "integer" | "number":
            whole = field.kind == "integer"
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                return "a whole number" if whole else "a number"
            return _outside(field, float(value), "")
        case "string":
            return _outside(field, len(value), " characters") if isinstance(value, str) else "a text"
        case "choice":
            return "" if value in field.choices else f"one of {', '.join(field.choices)}"
        case "choices":
            try:
                chosen = msgspec.convert(value, list[str])
            except msgspec.ValidationError:
                return "a list"
            if any(each not in field.choices for each in chosen):
                return f"a list of {', '.join(field.choices)}"
            return _outside(field, len(chosen), " of them")


def _outside(field: Field, number: float, unit: str) -> str:
    if field.minimum is not None and number < field.minimum:
        return f"at least {field.minimum:g}{unit}"
    if field.maximum is not None and number > field.maximum:
        return f"at most {field.maximum:g}{unit}"
    return ""


def parse_text(field: Field, text: str) -> Any:
    """Return the value a person typed for a field; None: nothing was typed and the field has no default.

    Raises:
        FormError: it is no value of the field.
    """
    text = text.strip()
    if not text:
        return field.default
    value: Any = text
    match field.kind:
        case "boolean":
            word = text.lower()
            value = True if word in ("y", "yes", "true") else False if word in ("n", "no", "false") else text
        case "integer" | "number":
            try:
                value = int(text) if field.kind == "integer" or text.lstrip("-").isdecimal() else float(text)
            except ValueError:
                value = text
        case "choice":
            value = _chosen(field, text)
        case "choices":
            value = [_chosen(field, part) for part in text.split(",")]
        case "string":
            pass
    if expected := _expected(field, value):
        raise FormError(f"expected {expected}")
    return value


def _chosen(field: Field, text: str) -> str:
    """Return the choice a person named, by its number from 1, its value or its label."""
    text = text.strip()
    if text in field.choices:
        return text
    if text.isdecimal() and 1 <= int(text) <= len(field.choices):
        return field.choices[int(text) - 1]
    return field.choices[field.labels.index(text)] if text in field.labels else text
