"""Paths find their handlers; the API's description has exactly the routes there are."""

from __future__ import annotations

import json
import re
from typing import cast

import jsonschema
import pytest

from syntor.contracts.errors import NotFoundError
from syntor.ingress.app import routes
from syntor.ingress.errors import MethodNotAllowedError
from syntor.ingress.gateway import Gateway
from syntor.ingress.openapi import document
from syntor.ingress.problems import KINDS
from syntor.ingress.routing import Route, Router


def table() -> list[Route]:
    return routes(cast("Gateway", None), agent_timeout_s=1.0)


def test_a_path_finds_its_handler_and_ids() -> None:
    router = Router(table())
    parameters: dict[str, str] = {}
    handler, template = router.find("GET", "/v1/runs/r1/events", parameters)
    assert (handler.__name__, template, parameters) == ("of_run", "/v1/runs/{run_id}/events", {"run_id": "r1"})


def test_a_literal_wins_over_an_id() -> None:
    handler, _ = Router(table()).find("POST", "/v1/agents/register", {})
    assert handler.__name__ == "register"


@pytest.mark.parametrize(
    "path", ["/", "", "/v1", "/v1/", "/v1/runs/", "/v1/runs/r1/", "/v1/runs/r1/nothing", "/V1/runs"]
)
def test_unknown_paths_are_not_found(path: str) -> None:
    with pytest.raises(NotFoundError):
        Router(table()).find("GET", path, {})


def test_another_method_names_those_there_are() -> None:
    with pytest.raises(MethodNotAllowedError) as refused:
        Router(table()).find("PUT", "/v1/runs", {})
    assert refused.value.allowed == ["GET", "POST"]


def test_the_description_has_exactly_the_routes() -> None:
    described = {(method.upper(), path) for path, item in document()["paths"].items() for method in item}
    assert described == {(method, path) for method, path, _ in table()}


def test_the_description_names_the_ids_of_each_path_and_refers_to_what_exists() -> None:
    whole = document()
    for path, item in whole["paths"].items():
        for operation in item.values():
            named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
            assert operation["responses"]
    for kind, name in set(re.findall(r"#/components/(\w+)/(\w+)", json.dumps(whole))):
        assert name in whole["components"][kind]
    statuses = {status for item in whole["paths"].values() for one in item.values() for status in one["responses"]}
    assert {status for status in statuses if status >= "400"} <= {str(kind.status) for kind in KINDS.values()}


def test_the_schemas_are_json_schemas() -> None:
    for schema in document()["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_known_query_parameter_is_described() -> None:
    expected = {
        "/v1/runs": {"session_id", "agent", "status", "limit", "cursor"},
        "/v1/runs/{run_id}/events": {"after", "types", "limit"},
        "/v1/runs/{run_id}/approvals": {"status", "limit", "cursor"},
        "/v1/dead_letters": {"limit", "cursor"},
        "/v1/approvals": {"session_id", "status", "limit", "cursor"},
        "/v1/sessions": {"limit", "cursor"},
        "/v1/sessions/{session_id}/messages": {"before", "limit"},
        "/v1/agents": {"capability", "status"},
        "/v1/usage": {"group_by", "run_id", "session_id"},
        "/v1/events": {"subject", "after"},
    }
    for path, item in document()["paths"].items():
        parameters = item["get"].get("parameters", []) if "get" in item else []
        assert {one["name"] for one in parameters if one["in"] == "query"} == expected.get(path, set())
