"""The committed documents are what the code says, and a change that breaks a reader is refused."""

import copy
import json
from typing import Any

import pytest

from syntor.schemas.__main__ import broken_promises, drift, main
from syntor.schemas.compatibility import incompatibilities
from syntor.schemas.documents import build_documents

RUN: dict[str, Any] = json.loads(build_documents()["run.v1.json"])


def test_committed_documents_do_not_drift() -> None:
    assert drift() == []


def test_nothing_breaks_the_last_release() -> None:
    assert broken_promises() == []


def test_an_unknown_action_is_a_usage_error() -> None:
    assert main(["publish"]) == 2


def test_every_event_has_a_channel_a_message_and_an_operation() -> None:
    document = json.loads(build_documents()["asyncapi.json"])
    assert document["asyncapi"].startswith("3.")
    assert document["channels"]["run_task_assigned_v1"]["address"] == "syntor.events.run.{run_id}.task_assigned.{queue}"
    for name, channel in document["channels"].items():
        assert set(channel["messages"]) == {name} == {name} & set(document["components"]["messages"])
        assert f"receive_{name}" in document["operations"]
        assert all(f"{{{parameter}}}" in channel["address"] for parameter in channel["parameters"])


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
        ({"properties": {"final_message": {"type": "string"}}}, "task_id was removed"),
        ({"properties": RUN["$defs"]["RunDone"]["properties"] | {"task_id": {"type": "integer"}}}, "task_id changed"),
    ],
)
def test_an_incompatible_change_is_refused_by_name(changes: dict[str, Any], expected: str) -> None:
    (line,) = incompatibilities("run", RUN, _changed(**changes))
    assert expected in line


def test_a_removed_event_is_refused() -> None:
    document = copy.deepcopy(RUN)
    del document["events"]["run_done"], document["$defs"]["RunDone"]
    assert incompatibilities("run", RUN, document) == ["run: run_done was removed", "run: type RunDone was removed"]
