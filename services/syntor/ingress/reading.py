"""Reads a JSON body into a command struct, and says of a wrong one every field that is wrong.

A right body costs one typed decode; only a wrong one is looked at again, field by field.
"""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar, cast

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import InvalidInputError
from syntor.ingress.errors import FieldFault, InvalidFieldsError

_BYTE = re.compile(r"\(byte (\d+)\)")
_PATH = re.compile(r" - at `\$(?:\.|(?=\[))?([^`]*)`")
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
    """Reads bodies of one command."""

    def __init__(self, struct: type[T]) -> None:
        self._struct = struct
        self._decode = msgspec.json.Decoder(struct).decode

    def read(self, body: bytes) -> T:
        """Return the command in a body.

        Raises:
            InvalidInputError: not JSON (with its position), or fields are wrong (each is named).
        """
        try:
            return self._decode(body)
        except msgspec.ValidationError as exc:
            raise explain(body, self._struct, exc) from exc
        except UNDECODABLE as exc:
            raise _malformed(body, exc) from exc


def explain(body: bytes, struct: type[msgspec.Struct], cause: msgspec.ValidationError) -> InvalidInputError:
    """Return an error that names every wrong field of a body that is JSON but not a `struct`."""
    try:
        content = msgspec.json.decode(body)
    except UNDECODABLE as exc:
        return _malformed(body, exc)
    if not isinstance(content, dict):
        return InvalidInputError(f"the body must be a JSON object, found {_json_type(content)}")
    faults = field_faults(cast("dict[str, Any]", content), struct)
    return InvalidFieldsError(faults or [_fault("", str(cause))])


def field_faults(content: dict[str, Any], struct: type[msgspec.Struct]) -> list[FieldFault]:
    """Return what is wrong with the fields of an object: those of the struct in order, then unknown ones."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    faults: list[FieldFault] = []
    for name, field in fields.items():
        if name in content:
            try:
                msgspec.convert(content[name], field.type)
            except msgspec.ValidationError as exc:
                faults.append(_fault(name, str(exc)))
        elif field.required:
            faults.append(FieldFault(name, "missing"))
    faults += [FieldFault(name, unknown_name(name, list(fields))) for name in content if name not in fields]
    return faults


def unknown_name(name: str, known: list[str]) -> str:
    """Return what to say about a name that is not known: the nearest known one, or all of them."""
    import difflib  # only wrong requests pay for it

    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"unknown; did you mean {near[0]!r}?" if near else f"unknown; known are {', '.join(known)}"


def _fault(name: str, text: str) -> FieldFault:
    """Make a library's message into one about a field: path in front, JSON's names of types."""
    inner = _PATH.search(text)
    text = _PATH.sub("", text)
    path = inner[1] if inner else ""
    full = name + ("" if not path or path.startswith("[") else ".") + path if name else path
    return FieldFault(full, _TYPES.sub(_type_names, text).replace("Expected", "expected", 1))


def _type_names(found: re.Match[str]) -> str:
    return " or ".join(_TYPE_NAMES.get(name, name) for name in found[1].split(" | "))


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


def _json_type(value: object) -> str:
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return "a string"
    return "null" if value is None else "a boolean" if isinstance(value, bool) else "a number"
