"""Every error on purpose has a status, a title and a stable code."""

from __future__ import annotations

import json

import pytest

from syntor.contracts import errors
from syntor.contracts.errors import SyntorError
from syntor.contracts.http.v1 import FieldFault
from syntor.ingress.http import errors as http_errors
from syntor.ingress.http.errors import InvalidFieldsError, MethodNotAllowedError, TooLargeError
from syntor.ingress.http.problems import KINDS, problem_response


def all_errors(root: type[SyntorError]) -> list[type[SyntorError]]:
    return [root] + [found for branch in root.__subclasses__() for found in all_errors(branch)]


@pytest.mark.parametrize(
    "kind", [kind for kind in all_errors(SyntorError) if kind.__module__ in (errors.__name__, http_errors.__name__)]
)
def test_every_error_becomes_a_problem_that_does_not_hide_what_it_is(kind: type[SyntorError]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, "the reason")
    error.__dict__.update(faults=[FieldFault("f", "wrong")], allowed=["GET"])
    response = problem_response(error, "/v1/runs", "a" * 32)
    body = json.loads(bytes(response.body))
    assert body["status"] == response.status_code == KINDS[body["code"]].status
    assert body["type"] == f"/problems/{body['code']}"
    assert (body["detail"], body["instance"], body["trace_id"]) == ("the reason", "/v1/runs", "a" * 32)
    assert (response.status_code in (429, 503)) == ("retry-after" in response.headers)
    if kind.__module__ == http_errors.__name__:
        assert body["code"] == kind.code


def test_wrong_fields_are_listed() -> None:
    response = problem_response(InvalidFieldsError([FieldFault("a", "missing"), FieldFault("b", "unknown")]), "/", "")
    body = json.loads(bytes(response.body))
    assert body["errors"] == [{"field": "a", "message": "missing"}, {"field": "b", "message": "unknown"}]
    assert body["detail"] == "a: missing; b: unknown"


def test_allowed_methods_and_a_closed_connection_are_in_the_headers() -> None:
    refused = problem_response(MethodNotAllowedError("PUT", "/v1/runs", ["GET", "POST"]), "/v1/runs", "")
    assert refused.headers["allow"] == "GET, POST"
    assert problem_response(TooLargeError("x"), "/", "").headers["connection"] == "close"
