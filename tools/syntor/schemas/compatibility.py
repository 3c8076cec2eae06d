"""Pure comparison of two versions of a generated schema document: finds what would break a reader or a writer.

Within a schema version only optional fields may be added. Everything else that can be seen in the document is refused.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def incompatibilities(name: str, released: Schema, current: Schema) -> list[str]:
    """Return one line for each change that is not the addition of an optional field or of a new type.

    Args:
        name: file name, named in each line.
        released: document of the last release.
        current: document generated from the code now.
    """
    found: list[str] = []
    for part in ("events", "messages"):
        for key in released.get(part, {}):
            if key not in current.get(part, {}):
                found.append(f"{name}: {key} was removed")
    old_definitions, new_definitions = released.get("$defs", {}), current.get("$defs", {})
    for key, old in old_definitions.items():
        if key not in new_definitions:
            found.append(f"{name}: type {key} was removed")
        else:
            found += _compare(f"{name}: {key}", old, new_definitions[key])
    return found


def _compare(where: str, old: Schema, new: Schema) -> list[str]:
    found: list[str] = []
    if old.get("type") != new.get("type"):
        found.append(f"{where} changed its type from {old.get('type')} to {new.get('type')}")
    old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
    for field, schema in old_fields.items():
        if field not in new_fields:
            found.append(f"{where}.{field} was removed")
        elif _shape(schema) != _shape(new_fields[field]):
            found.append(f"{where}.{field} changed from {_shape(schema)} to {_shape(new_fields[field])}")
    old_required, new_required = set(old.get("required", [])), set(new.get("required", []))
    found += [f"{where}.{field} became required" for field in sorted(new_required - old_required)]
    found += [f"{where}.{field} became optional" for field in sorted(old_required - new_required)]
    found += [
        f"{where}: {value!r} is no longer allowed" for value in old.get("enum", []) if value not in new.get("enum", [])
    ]
    return found


def _shape(schema: Schema) -> Schema:
    """Return a field's schema without what does not change its meaning on the wire."""
    return {key: value for key, value in schema.items() if key not in ("description", "title", "examples")}
