"""JSON schemas of structs, with the docstring line of each field as its description."""

from __future__ import annotations

import ast
import itertools
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

REF = "#/components/schemas/{name}"


def describe(types: list[Any]) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return a schema for each type, and the schemas of all structs they refer to, by name."""
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    structs = {struct.__name__: struct for struct in _structs(msgspec.inspect.multi_type_info(types))}
    for name, component in components.items():
        if name in structs:
            _add_descriptions(component, structs[name])
    return list(schemas), dict(sorted(components.items()))


def _add_descriptions(component: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    documented = {name: text for base in reversed(struct.__mro__) for name, text in _field_docs(base).items()}
    for name, schema in component.get("properties", {}).items():
        if name in documented:
            schema.setdefault("description", documented[name])


def _structs(info: Any) -> set[type[msgspec.Struct]]:
    """Return every struct inside type information of msgspec."""
    found: set[type[msgspec.Struct]] = set()
    waiting: list[Any] = list(info)
    while waiting:
        one = waiting.pop()
        if isinstance(one, msgspec.inspect.StructType):
            if one.cls in found:
                continue
            found.add(one.cls)
            waiting += [field.type for field in one.fields]
        elif isinstance(one, msgspec.inspect.UnionType):
            waiting += one.types
        else:
            inner = (getattr(one, name, None) for name in ("item_type", "key_type", "value_type", "type"))
            waiting += [each for each in inner if isinstance(each, msgspec.inspect.Type)]
    return found


def _field_docs(struct: type) -> dict[str, str]:
    module = sys.modules.get(struct.__module__)
    file: str = getattr(module, "__file__", None) or ""
    return _docs_of(file).get(struct.__name__, {}) if file.endswith(".py") else {}


@cache
def _docs_of(file: str) -> dict[str, dict[str, str]]:
    """Return class -> field -> text below the field, of a Python file."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    return {node.name: _docs_below(node.body) for node in tree.body if isinstance(node, ast.ClassDef)}


def _docs_below(body: list[ast.stmt]) -> dict[str, str]:
    found: dict[str, str] = {}
    for field, below in itertools.pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            found[field.target.id] = " ".join(below.value.value.split())
    return found
