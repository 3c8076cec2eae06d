"""Decodes JSON bodies into structs; an invalid body is refused with every invalid field.

A valid body costs one typed decode. Only an invalid one is decoded again, field by field.
"""

from __future__ import annotations

import re
from types import UnionType
from typing import Annotated, Any, Generic, Literal, TypeGuard, TypeVar, Union, get_args, get_origin

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import InvalidInputError
from syntor.contracts.http.v1 import FieldFault
from syntor.ingress.http.bounds import FORMS
from syntor.ingress.http.errors import InvalidFieldsError

_BYTE = re.compile(r"\(byte (\d+)\)")
_PATH = re.compile(r" - at (?:`key` in )?`\$(?:\.|(?=\[))?([^`]*)`")
_REGEX = "Expected `str` matching regex "  # followed by the repr of the pattern
_FORMS = {repr(pattern): form for pattern, form in FORMS.items()}
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_TYPE_NAMES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "object": "object",
    "array": "array",
    "null": "null",
}
_TYPES = re.compile(r"`([a-z]+(?: \| [a-z]+)*)`")

T = TypeVar("T", bound=msgspec.Struct)


class BodyReader(Generic[T]):
    """Decodes the bodies of one operation."""

    def __init__(self, struct: type[T]) -> None:
        self._struct = struct
        self._decode = msgspec.json.Decoder(struct).decode

    def read(self, body: bytes) -> T:
        """Return the struct in a body.

        Raises:
            InvalidInputError: not JSON (has the position), or fields are invalid (names each).
        """
        try:
            return self._decode(body)
        except msgspec.ValidationError:
            return self._read_again(body)
        except UNDECODABLE as exc:
            raise _malformed(body, exc) from exc

    def _read_again(self, body: bytes) -> T:
        """Return a body in which an integer is written as 1.0, which JSON does not distinguish from 1."""
        try:
            content = _with_integers(msgspec.json.decode(body))
        except UNDECODABLE as exc:
            raise _malformed(body, exc) from exc
        try:
            return msgspec.convert(content, self._struct)
        except msgspec.ValidationError as exc:
            raise explain(content, self._struct, exc) from exc


def explain(content: object, struct: type[msgspec.Struct], cause: msgspec.ValidationError) -> InvalidInputError:
    """Return an error that names every invalid field of JSON that is no `struct`."""
    if not _is_object(content):
        return InvalidInputError(f"the body must be a JSON object, found {_json_type(content)}")
    faults = field_faults(content, struct)
    return InvalidFieldsError(faults or [fault_of("", content, object, cause)])


def field_faults(content: dict[str, Any], struct: type[msgspec.Struct], prefix: str = "") -> list[FieldFault]:
    """Return the faults of an object: the struct's fields in order, with objects inside, then unknown names."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    faults: list[FieldFault] = []
    for name, field in fields.items():
        if name in content:
            faults += _value_faults(prefix + name, content[name], field.type)
        elif field.required:
            faults.append(FieldFault(prefix + name, "missing"))
    unknown = [name for name in content if name not in fields]
    return faults + [FieldFault(prefix + name, unknown_name(name, list(fields))) for name in unknown]


def unknown_name(name: str, known: list[str]) -> str:
    """Return the message about an unknown name: the most similar known one, or all of them."""
    import difflib  # slow to import, and needed for invalid requests only

    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"unknown; did you mean {near[0]!r}?" if near else f"unknown; known are {', '.join(known)}"


def fault_of(name: str, value: Any, annotation: Any, error: msgspec.ValidationError) -> FieldFault:
    """Return a msgspec error as a fault: full path, JSON's names of types, the value and what is allowed."""
    found = _PATH.search(str(error))
    text = _PATH.sub("", str(error))
    path = found[1] if found else ""
    full = name + ("" if not path or path.startswith("[") else ".") + path if name else path
    if text.startswith(_REGEX):
        pattern = text.removeprefix(_REGEX)
        return FieldFault(full, f"{_FORMS.get(pattern, f'expected a match of {pattern}')}, found {_at(value, path)!r}")
    if text.startswith("Invalid enum value"):
        allowed = ", ".join(str(one) for one in _literals(annotation) if one != "")
        return FieldFault(full, f"expected one of {allowed}, found {_at(value, path)!r}")
    return FieldFault(full, _TYPES.sub(_type_names, text).replace("Expected", "expected", 1))


def _value_faults(name: str, value: Any, annotation: Any) -> list[FieldFault]:
    struct, is_list = _struct_in(annotation)
    if struct is not None and not is_list and _is_object(value):
        return field_faults(value, struct, f"{name}.")
    if struct is not None and is_list and _is_array(value):
        faults = [one for n, row in enumerate(value) for one in _value_faults(f"{name}[{n}]", row, struct)]
        if faults:
            return faults
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError as exc:
        return [fault_of(name, value, annotation, exc)]
    return []


def _struct_in(annotation: Any) -> tuple[type[msgspec.Struct] | None, bool]:
    """Return the struct a field holds, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation, False
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _struct_in(arguments[0])
    if origin is list:
        return _struct_in(arguments[0])[0], True
    if origin in (Union, UnionType):
        inner = [one for one in arguments if one is not type(None)]
        return _struct_in(inner[0]) if len(inner) == 1 else (None, False)
    return None, False


def _literals(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [one for argument in get_args(annotation) for one in _literals(argument)]


def _at(value: Any, path: str) -> Any:
    """Return the value at a path such as `deny[1]`, or the nearest one around it where the path does not name a key."""
    for index, name in _STEP.findall(path):
        if index and _is_array(value):
            value = value[int(index)]
        elif _is_object(value) and name in value:
            value = value[name]
    return value


def _type_names(found: re.Match[str]) -> str:
    return " or ".join(_TYPE_NAMES.get(name, name) for name in found[1].split(" | "))


def _with_integers(content: Any) -> Any:
    if isinstance(content, float) and content.is_integer():
        return int(content)
    if _is_object(content):
        return {name: _with_integers(value) for name, value in content.items()}
    return [_with_integers(value) for value in content] if _is_array(content) else content


def _malformed(body: bytes, exc: Exception) -> InvalidInputError:
    if not body.strip():
        return InvalidInputError("the body is empty; expected a JSON object")
    if isinstance(exc, RecursionError):
        return InvalidInputError("malformed JSON: nested too deeply")
    if isinstance(exc, UnicodeDecodeError):
        return InvalidInputError(f"malformed JSON: not UTF-8 {_place(body, exc.start)}")
    found = _BYTE.search(str(exc))
    reason = _BYTE.sub("", str(exc)).removeprefix("JSON is malformed: ").strip()
    return InvalidInputError(f"malformed JSON: {reason} {_place(body, int(found[1]) if found else len(body))}")


def _place(body: bytes, byte: int) -> str:
    line = body.count(b"\n", 0, byte) + 1
    column = byte - (body.rfind(b"\n", 0, byte) + 1) + 1
    return f"at line {line}, column {column} (byte {byte})"


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _json_type(value: object) -> str:
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return "a string"
    return "null" if value is None else "a boolean" if isinstance(value, bool) else "a number"
