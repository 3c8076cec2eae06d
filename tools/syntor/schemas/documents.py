"""Builds every generated contract document as text, from the event table.

One JSON Schema per category and version, one AsyncAPI 3 document, and the event reference in Markdown.
"""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import msgspec

from syntor.contracts import subjects, topology
from syntor.contracts.envelope import Envelope, schema_name
from syntor.contracts.events import CATALOGUE, Category, EventType
from syntor.contracts.http import v1 as http_v1
from syntor.contracts.rpc import v1 as rpc_v1

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI_VERSION = "3.0.0"
_DEFS = "#/$defs/{name}"
_COMPONENTS = "#/components/schemas/{name}"
_WRITERS = {
    "ingress": "the ingress",
    "orchestrator": "the orchestrator",
    "registry": "the registry",
    "projector": "the projector",
    "agent": "agent services",
    "consumer": "any service with a durable consumer",
    "server": "the NATS server",
}


def build_schemas() -> dict[str, str]:
    """Return file name -> text of every JSON Schema, with a final newline each."""
    documents: dict[str, Any] = {
        "envelope.v1.json": _envelope(),
        "rpc.v1.json": _messages(rpc_v1, "Requests and replies between services, version 1"),
        "http.v1.json": _messages(http_v1, "Bodies of HTTP responses, version 1"),
    }
    for category, version in sorted({(row.category, row.version) for row in CATALOGUE.rows()}):
        documents[f"{category}.v{version}.json"] = _category(category, version)
    return {name: _text(document) for name, document in documents.items()}


def build_asyncapi() -> str:
    """Return the AsyncAPI document, with a final newline."""
    return _text(_asyncapi())


def address_of(row: EventType) -> str:
    """Return the channel address of an event type: its subject with the parameters in braces."""
    category = _category_of(row)
    ids = ".".join(f"{{{field}}}" for field in category.id_fields)
    address = subjects.event(row.category, ids, row.type, "-".join(f"{{{field}}}" for field in row.key))
    return address


def build_event_reference() -> str:
    """Return the event reference, Markdown."""
    lines = [
        "# Events and subjects",
        "",
        "Generated from the event table (`contracts/syntor/contracts/events.py`) by `python -m syntor.schemas write`.",
        "Every message of the log is one of these: a CloudEvents 1.0 envelope whose `data` is the event.",
        "",
        "| category | aggregate id | expected revision | what it holds |",
        "| --- | --- | --- | --- |",
    ]
    for category in CATALOGUE.categories():
        ids = ".".join(f"<{field}>" for field in category.id_fields)
        lines.append(f"| `{category.name}` | `{ids}` | {category.consistency} | {category.description} |")
    lines.append("")
    for category in CATALOGUE.categories():
        lines += _reference_of(category)
    return "\n".join(lines).rstrip() + "\n"


def _reference_of(category: Category) -> list[str]:
    lines = [f"## {category.name}: {category.description}", ""]
    for row in CATALOGUE.rows():
        if row.category != category.name:
            continue
        subject = address_of(row).replace("{", "<").replace("}", ">")
        writers = ", ".join(_WRITERS[writer] for writer in row.writers)
        lines += [f"### {row.type}", "", row.summary, "", f"- subject: `{subject}`", f"- appended by: {writers}"]
        lines += [f"- schema: `{schema_name(row.category, row.type, row.version)}`", ""]
    return lines


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=False) + "\n"


def _category(category: str, version: int) -> dict[str, Any]:
    rows = [row for row in CATALOGUE.rows() if (row.category, row.version) == (category, version)]
    roots, definitions = msgspec.json.schema_components([row.struct for row in rows], ref_template=_DEFS)
    return {
        "$schema": JSON_SCHEMA,
        "title": f"Events of the category {category}, schema version {version}",
        "events": {row.type: root for row, root in zip(rows, roots, strict=True)},
        "$defs": dict(sorted(definitions.items())),
    }


def _describable_envelope() -> type[msgspec.Struct]:
    """Return the envelope with `data` as any JSON value: msgspec cannot describe the default of a raw field."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(Envelope):
        if field.name == "data":
            fields.append((field.name, Any, None))
        else:
            fields.append((field.name, field.type) if field.required else (field.name, field.type, field.default))
    return msgspec.defstruct("Envelope", fields, kw_only=True, namespace={"__doc__": Envelope.__doc__})


def _envelope() -> dict[str, Any]:
    (root,), definitions = msgspec.json.schema_components([_describable_envelope()], ref_template=_DEFS)
    title = "Envelope of every message: CloudEvents 1.0, structured mode"
    return {"$schema": JSON_SCHEMA, "title": title, **root, "$defs": dict(sorted(definitions.items()))}


def _messages(module: ModuleType, title: str) -> dict[str, Any]:
    values: list[object] = list(vars(module).values())
    found = [value for value in values if isinstance(value, type) and issubclass(value, msgspec.Struct)]
    structs = sorted(
        (struct for struct in found if struct.__module__ == module.__name__), key=lambda struct: struct.__name__
    )
    roots, definitions = msgspec.json.schema_components(structs, ref_template=_DEFS)
    return {
        "$schema": JSON_SCHEMA,
        "title": title,
        "messages": {struct.__name__: root for struct, root in zip(structs, roots, strict=True)},
        "$defs": dict(sorted(definitions.items())),
    }


def _category_of(row: EventType) -> Category:
    category = CATALOGUE.category(row.category)
    assert category is not None
    return category


def _asyncapi() -> dict[str, Any]:
    rows = CATALOGUE.rows()
    envelope_and_events = [_describable_envelope(), *(row.struct for row in rows)]
    roots, definitions = msgspec.json.schema_components(envelope_and_events, ref_template=_COMPONENTS)
    data = dict(zip((row.struct for row in rows), roots[1:], strict=True))  # two structs may share a name
    channels: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for row in rows:
        name = f"{row.category}_{row.type}_v{row.version}"
        category = _category_of(row)
        channels[name] = {
            "address": address_of(row),
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "parameters": {
                field: {"description": field.replace("_", " ")} for field in (*category.id_fields, *row.key)
            },
            "x-jetstream": {"stream": topology.TIMERS if row.category == "timer" else topology.EVENTS},
            "x-writers": list(row.writers),
        }
        messages[name] = {
            "name": schema_name(row.category, row.type, row.version),
            "summary": row.summary,
            "contentType": "application/json",
            "payload": {
                "allOf": [
                    {"$ref": "#/components/schemas/Envelope"},
                    {
                        "type": "object",
                        "properties": {"data": data[row.struct]},
                    },
                ]
            },
        }
        operations[f"receive_{name}"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
        }
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "Syntor events",
            "version": "1.0.0",
            "description": "Every message of the log, by subject. Payloads are CloudEvents 1.0 in structured mode.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:4230", "protocol": "nats"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": dict(sorted(definitions.items()))},
        "x-jetstream": {
            "streams": [msgspec.to_builtins(stream) for stream in topology.STREAMS],
            "consumers": [msgspec.to_builtins(consumer) for consumer in topology.CONSUMERS],
        },
    }
