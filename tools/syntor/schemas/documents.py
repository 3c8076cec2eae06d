"""Builds every generated contract document as text: one JSON Schema per category and version, and AsyncAPI 3."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from syntor.contracts import subjects, topology
from syntor.contracts.envelope import Envelope, schema_name
from syntor.contracts.events import CATALOGUE, EventKey
from syntor.contracts.rpc import v1 as rpc_v1

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI_VERSION = "3.0.0"
_DEFS = "#/$defs/{name}"
_COMPONENTS = "#/components/schemas/{name}"


def build_documents() -> dict[str, str]:
    """Return file name -> text of every generated document, with a final newline each."""
    documents: dict[str, Any] = {"envelope.v1.json": _envelope(), "rpc.v1.json": _rpc(), "asyncapi.json": _asyncapi()}
    for category, version in sorted({(key[0], key[2]) for key, _ in CATALOGUE.items()}):
        documents[f"{category}.v{version}.json"] = _category(category, version)
    return {name: json.dumps(document, indent=2, sort_keys=False) + "\n" for name, document in documents.items()}


def _events(category: str, version: int) -> list[tuple[EventKey, type[msgspec.Struct]]]:
    return [(key, struct) for key, struct in CATALOGUE.items() if key[0] == category and key[2] == version]


def _category(category: str, version: int) -> dict[str, Any]:
    events = _events(category, version)
    roots, definitions = msgspec.json.schema_components([struct for _, struct in events], ref_template=_DEFS)
    return {
        "$schema": JSON_SCHEMA,
        "title": f"Events of the category {category}, schema version {version}",
        "events": {key[1]: root for (key, _), root in zip(events, roots, strict=True)},
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


def _rpc() -> dict[str, Any]:
    structs = sorted(
        (value for value in vars(rpc_v1).values() if isinstance(value, type) and value.__module__ == rpc_v1.__name__),
        key=lambda struct: struct.__name__,
    )
    roots, definitions = msgspec.json.schema_components(structs, ref_template=_DEFS)
    return {
        "$schema": JSON_SCHEMA,
        "title": "Requests and replies between services, version 1",
        "messages": {struct.__name__: root for struct, root in zip(structs, roots, strict=True)},
        "$defs": dict(sorted(definitions.items())),
    }


def _address(category: str, type_: str) -> tuple[str, dict[str, Any]]:
    """Return the channel address of an event type with its parameters."""
    if category == "timer":
        names = ["run_id", "name"]
        return subjects.timer_due("{run_id}", "{name}"), {name: {"description": name} for name in names}
    names = ["run_id", "task_id"] if category in subjects.TASK_CATEGORIES else [f"{_id_name(category)}"]
    queue = "{queue}" if type_ == "task_assigned" else ""
    address = subjects.event(category, ".".join(f"{{{name}}}" for name in names), type_, queue)
    names += ["queue"] if queue else []
    return address, {name: {"description": name.replace("_", " ")} for name in names}


def _id_name(category: str) -> str:
    return {"run": "run_id", "request": "run_id", "agent": "agent_id", "session": "session_id"}.get(category, "id")


def _asyncapi() -> dict[str, Any]:
    items = CATALOGUE.items()
    envelope_and_events = [_describable_envelope(), *(struct for _, struct in items)]
    _, definitions = msgspec.json.schema_components(envelope_and_events, ref_template=_COMPONENTS)
    channels: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for (category, type_, version), struct in items:
        name = f"{category}_{type_}_v{version}"
        address, parameters = _address(category, type_)
        channel = {"address": address, "messages": {name: {"$ref": f"#/components/messages/{name}"}}}
        channels[name] = channel | {"parameters": parameters, "x-jetstream": {"stream": _stream(category)}}
        messages[name] = {
            "name": schema_name(category, type_, version),
            "summary": (struct.__doc__ or "").strip().splitlines()[0],
            "contentType": "application/json",
            "payload": {
                "allOf": [
                    {"$ref": "#/components/schemas/Envelope"},
                    {"properties": {"data": {"$ref": f"#/components/schemas/{struct.__name__}"}}},
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


def _stream(category: str) -> str:
    return topology.TIMERS if category == "timer" else topology.EVENTS
