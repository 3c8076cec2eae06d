"""The committed documents are what the code says, and a change that breaks a reader is refused."""

import copy
import json
import re
from typing import Any

import msgspec
import pytest

from syntor.contracts import subjects
from syntor.contracts.events import CATALOGUE
from syntor.schemas.__main__ import drift, incompatible_changes, main
from syntor.schemas.compatibility import incompatibilities
from syntor.schemas.documents import build_asyncapi, build_schemas

RUN: dict[str, Any] = json.loads(build_schemas()["run.v1.json"])
PROPERTIES = RUN["$defs"]["RunDone"]["properties"]


def test_committed_documents_do_not_drift() -> None:
    assert drift() == []


def test_nothing_breaks_the_last_release() -> None:
    assert incompatible_changes() == []


def test_an_unknown_action_is_a_usage_error() -> None:
    assert main(["publish"]) == 2


def test_every_event_has_a_channel_a_message_and_an_operation() -> None:
    document = json.loads(build_asyncapi())
    assert document["asyncapi"].startswith("3.")
    assert document["channels"]["run_task_assigned_v1"]["address"] == "syntor.events.run.{run_id}.task_assigned.{queue}"
    for name, channel in document["channels"].items():
        assert set(channel["messages"]) == {name} == {name} & set(document["components"]["messages"])
        assert f"receive_{name}" in document["operations"]
        assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel["parameters"])


def test_the_real_subject_of_every_event_type_is_in_the_asyncapi_document() -> None:
    channels = json.loads(build_asyncapi())["channels"]
    addresses = {
        re.compile(re.sub(r"\\{[a-z_]+\\}", "[^.]+", re.escape(channel["address"])) + r"\Z"): name
        for name, channel in channels.items()
    }
    for row in CATALOGUE.rows():
        category = CATALOGUE.category(row.category)
        assert category is not None
        subject = subjects.of_event(_sample(row.struct), ".".join(f"{field}1" for field in category.id_fields))
        found = [name for address, name in addresses.items() if address.match(subject)]
        if category.subject_prefix == subjects.EVENTS_PREFIX:
            assert found == [f"{row.category}_{row.type}_v{row.version}"], subject
        else:
            assert f"{row.category}_{row.type}_v{row.version}" in found, subject


def _sample(struct: type[msgspec.Struct]) -> msgspec.Struct:
    """Return an event with a value in every required field."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        if field.required:
            values[field.name] = f"{field.name}1" if "str" in str(field.type) else 1
    return struct(**values)


def test_every_message_of_the_asyncapi_document_has_a_name_of_its_own() -> None:
    structs = [row.struct.__name__ for row in CATALOGUE.rows()]
    assert len(set(structs)) == len(structs)


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document = json.loads(build_asyncapi())
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', build_asyncapi()):
        found: Any = document
        for part in reference.split("/"):
            found = found[part]
    for row in CATALOGUE.rows():
        payload = document["components"]["messages"][f"{row.category}_{row.type}_v{row.version}"]["payload"]
        name = payload["allOf"][1]["properties"]["data"]["$ref"].rpartition("/")[2]
        fields = {field.encode_name for field in msgspec.structs.fields(row.struct)}
        assert set(document["components"]["schemas"][name].get("properties", {})) == fields, name


def _changed(**changes: Any) -> dict[str, Any]:
    document = copy.deepcopy(RUN)
    document["$defs"]["RunDone"].update(changes)
    return document


def test_a_new_optional_field_is_compatible() -> None:
    properties = RUN["$defs"]["RunDone"]["properties"] | {"extra": {"type": "string", "default": ""}}
    assert incompatibilities("run", RUN, _changed(properties=properties)) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"required": ["final_message", "task_id"]}, "task_id became required"),
        ({"required": []}, "final_message became optional"),
        ({"properties": {n: p for n, p in PROPERTIES.items() if n != "task_id"}}, "task_id was removed"),
        ({"properties": PROPERTIES | {"task_id": {"type": "integer"}}}, "task_id changed"),
    ],
)
def test_an_incompatible_change_is_refused_by_name(changes: dict[str, Any], expected: str) -> None:
    (line,) = incompatibilities("run", RUN, _changed(**changes))
    assert expected in line


def test_a_removed_event_is_refused() -> None:
    document = copy.deepcopy(RUN)
    del document["events"]["run_done"], document["$defs"]["RunDone"]
    assert incompatibilities("run", RUN, document) == ["run: run_done was removed", "run: type RunDone was removed"]
