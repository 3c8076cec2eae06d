"""Bodies become structs; an invalid one names every invalid field, and nothing is ignored."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.contracts.errors import InvalidInputError
from syntor.contracts.run.v1 import Attachment, Budget, Permissions
from syntor.ingress.api.agents import RegisterAgentBody
from syntor.ingress.api.approvals import DecideApproval
from syntor.ingress.api.client_tools import RegisterTools, check_tools
from syntor.ingress.api.run_bodies import CancelRun, Invoke, NoFields, StartRun
from syntor.ingress.http.decoding import BodyReader
from syntor.ingress.http.errors import InvalidFieldsError

read_start_run = BodyReader(StartRun).read

GOOD: dict[str, Any] = {"agent": "worker", "input": "hello"}


def body(**fields: Any) -> bytes:
    return json.dumps(GOOD | fields).encode()


def faults(content: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidFieldsError) as refused:
        read_start_run(json.dumps(content).encode())
    return {fault.field: fault.message for fault in refused.value.faults}


def test_all_fields_of_a_run_are_read() -> None:
    command = read_start_run(
        body(
            session_id="s-1",
            model="ollama/mistral:7b",
            metadata={"a": "b"},
            workspace="/tmp",
            attachments=[{"name": "f", "content": "c"}],
            timeout_s=5,
        )
    )
    assert command.event_attachments() == [Attachment(name="f", content="c")]
    assert (command.session_id, command.timeout_s, command.metadata) == ("s-1", 5.0, {"a": "b"})


@pytest.mark.parametrize(
    ("content", "field", "says"),
    [
        ({"input": "x"}, "agent", "missing"),
        ({"agent": "worker"}, "input", "missing"),
        (GOOD | {"agent": ""}, "agent", "length >= 1"),
        (GOOD | {"input": ""}, "input", "empty"),
        (GOOD | {"input": " \n"}, "input", "empty"),
        (GOOD | {"input": 7}, "input", "expected string, got integer"),
        (GOOD | {"session_id": "a.b"}, "session_id", "use 1 to 64"),
        (GOOD | {"session_id": "*"}, "session_id", "use 1 to 64"),
        (GOOD | {"workspace": "relative"}, "workspace", "absolute path"),
        (GOOD | {"imput": "y"}, "imput", "did you mean 'input'"),
        (GOOD | {"zzz": "y"}, "zzz", "known are agent, input"),
        (GOOD | {"metadata": {"a": 1}}, "metadata[...]", "expected string"),
        (GOOD | {"metadata": []}, "metadata", "expected object, got array"),
        (GOOD | {"budget": {"max_tokens": "many"}}, "budget.max_tokens", "expected integer or null, got string"),
        (GOOD | {"budget": {"max_tokens": 0}}, "budget.max_tokens", ">= 1"),
        (GOOD | {"budget": {"max_token": 1}}, "budget.max_token", "did you mean 'max_tokens'"),
        (GOOD | {"session_budget": {"max_wall_time_s": 5}}, "session_budget.max_wall_time_s", "unknown"),
        (GOOD | {"permissions": {"mode": "yolo"}}, "permissions.mode", "ask, auto-edit, plan, auto, found 'yolo'"),
        (GOOD | {"permissions": {"deny": ["bash", "a b"]}}, "permissions.deny[1]", "expected `tool` or"),
        (GOOD | {"attachments": [{"name": "f"}]}, "attachments[0].content", "missing"),
        (GOOD | {"timeout_s": 0}, "timeout_s", "> 0"),
        (GOOD | {"timeout_s": "soon"}, "timeout_s", "expected number or null, got string"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_expected(content: dict[str, Any], field: str, says: str) -> None:
    found = faults(content)
    assert list(found) == [field]
    assert says in found[field]


def test_all_wrong_fields_are_named_at_once() -> None:
    assert list(faults({"agent": 1, "inptu": "x", "timeout_s": -1})) == ["agent", "input", "timeout_s", "inptu"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the body is empty"),
        (b"  ", "the body is empty"),
        (b"{", "at line 1, column 2 (byte 1)"),
        (b'{"agent": "worker",}', "at line 1, column 20 (byte 19)"),
        (b'{"agent": "worker",\n  oops}', "at line 2, column 3 (byte 22)"),
        (b"[]", "must be a JSON object, found an array"),
        (b'"text"', "must be a JSON object, found a string"),
        (b"null", "must be a JSON object, found null"),
        (b"3", "must be a JSON object, found a number"),
        (b"true", "must be a JSON object, found a boolean"),
        (b"\xff\xfe{}", "malformed JSON"),
        (b'{"agent":"w","input":"\xff"}', "malformed JSON"),
        (b'{"x":' + b"[" * 100_000, "malformed JSON: nested too deeply"),
    ],
)
def test_what_is_not_a_json_object_is_refused_with_its_position(content: bytes, says: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_start_run(content)
    assert says in str(refused.value)


def test_an_integer_may_be_written_as_json_writes_numbers() -> None:
    assert read_start_run(body(budget={"max_tokens": 5.0})).event_budget() == Budget(max_tokens=5)
    assert "expected integer or null, got number" in faults(GOOD | {"budget": {"max_tokens": 5.5}})["budget.max_tokens"]


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reader(content: bytes) -> None:
    with contextlib.suppress(InvalidInputError):
        read_start_run(content)


def test_the_digest_is_of_what_is_asked_not_of_how_it_is_written() -> None:
    spaced = b'{ "input": "hello",   "agent":"worker", "metadata": {"b": "1", "a": "2"} }'
    tight = b'{"agent":"worker","input":"hello","metadata":{"a":"2","b":"1"}}'
    assert read_start_run(spaced).digest() == read_start_run(tight).digest()
    assert read_start_run(tight).digest() != read_start_run(body()).digest()


def test_limits_and_permissions_become_those_of_the_event() -> None:
    content = GOOD | {
        "budget": {"max_tokens": 5, "max_wall_time_s": 1.5},
        "session_budget": {"max_cost_microusd": 7},
        "permissions": {"mode": "auto", "allow": ["bash(make *)"]},
    }
    command = read_start_run(json.dumps(content).encode())
    assert command.event_budget() == Budget(max_tokens=5, max_wall_time_s=1.5)
    assert command.event_session_budget() == Budget(max_cost_microusd=7)
    assert command.event_permissions() == Permissions(mode="auto", allow=["bash(make *)"])
    plain = read_start_run(body())
    assert (plain.event_budget(), plain.event_session_budget(), plain.event_permissions()) == (None, None, None)


@pytest.mark.parametrize(
    ("tools", "field", "says"),
    [
        ([{"name": "bash", "description": "d"}], "tools[0].name", "a tool of the agents"),
        ([{"name": "a b", "description": "d"}], "tools[0].name", "use 1 to 64"),
        ([{"name": "a", "description": "d"}, {"name": "a", "description": "d"}], "tools[1].name", "twice"),
        ([{"name": "a", "description": "d", "parameters": {"type": "array"}}], "tools[0].parameters", "object"),
        ([{"name": "a"}], "tools[0].description", "missing"),
        ("all", "tools", "array"),
    ],
)
def test_a_wrong_tool_of_a_client_is_named(tools: object, field: str, says: str) -> None:
    with pytest.raises(InvalidFieldsError) as refused:
        check_tools(BodyReader(RegisterTools).read(json.dumps({"tools": tools}).encode()))
    [fault] = refused.value.faults
    assert fault.field == field
    assert says in fault.message


def test_a_decision_names_what_it_is_about() -> None:
    command = BodyReader(DecideApproval).read(b'{"approved": false, "content_hash": "h", "reason": "no"}')
    assert (command.approved, command.content_hash, command.reason, command.scope) == (False, "h", "no", "once")
    with pytest.raises(InvalidFieldsError) as refused:
        BodyReader(DecideApproval).read(b'{"approved": true, "content_hash": "", "scope": "always"}')
    assert [fault.field for fault in refused.value.faults] == ["content_hash", "scope"]
    with pytest.raises(InvalidFieldsError):
        BodyReader(DecideApproval).read(b'{"content_hash": "h"}')


def test_an_invocation_is_a_run_with_a_key() -> None:
    content = {
        "session_id": "s1",
        "agent_id": "worker",
        "input_message": {"role": "user", "content": "hello"},
        "request_id": "k",
    }
    command = BodyReader(Invoke).read(json.dumps(content).encode())
    assert command.start_run() == StartRun(agent="worker", input="hello", session_id="s1")
    assert command.request_id == "k"
    content |= {"session_id": "", "input_message": {"role": "system", "content": ""}}
    with pytest.raises(InvalidFieldsError) as refused:
        BodyReader(Invoke).read(json.dumps(content).encode())
    assert [f.field for f in refused.value.faults] == ["session_id", "input_message.role", "input_message.content"]


def test_a_registration_takes_capabilities_as_names_or_objects() -> None:
    content = {
        "agent_id": "weather",
        "name": "Weather",
        "endpoint": "http://127.0.0.1:9000/agent",
        "capabilities": ["forecast", {"name": "alerts", "version": "2.1"}],
    }
    profile = BodyReader(RegisterAgentBody).read(json.dumps(content).encode()).profile("")
    assert [(c.name, c.version) for c in profile.capabilities] == [("forecast", "1.0"), ("alerts", "2.1")]


@pytest.mark.parametrize(
    "endpoint", ["", "weather", "ftp://x/", "http://", "http://x:99999/", "/path", "http://[:6d]/", "http://[1::2::3]"]
)
def test_a_registration_without_a_usable_endpoint_is_refused(endpoint: str) -> None:
    content = {"agent_id": "weather", "name": "Weather", "endpoint": endpoint}
    with pytest.raises(InvalidFieldsError, match="endpoint"):
        BodyReader(RegisterAgentBody).read(json.dumps(content).encode())


@pytest.mark.parametrize(
    "endpoint",
    ["http://x", "https://a.b.c:65535/p?q#f", "http://u:p@127.0.0.1:80", "http://[::1]:8000/", "http://[fe80::1:2]"],
)
def test_a_registration_with_a_usable_endpoint_is_accepted(endpoint: str) -> None:
    content = {"agent_id": "weather", "name": "Weather", "endpoint": endpoint}
    assert BodyReader(RegisterAgentBody).read(json.dumps(content).encode()).endpoint == endpoint
    assert urlsplit(endpoint).hostname


def test_a_registration_under_an_impossible_id_is_refused() -> None:
    content = {"agent_id": "a.b", "name": "x", "endpoint": "http://x/", "aliases": ["ok", "*"]}
    with pytest.raises(InvalidFieldsError) as refused:
        BodyReader(RegisterAgentBody).read(json.dumps(content).encode())
    assert [fault.field for fault in refused.value.faults] == ["agent_id", "aliases[1]"]


def test_a_cancellation_may_have_a_reason() -> None:
    read = BodyReader(CancelRun).read
    assert read(b'{"reason":"late"}').reason == "late"
    with pytest.raises(InvalidFieldsError, match="did you mean 'reason'"):
        read(b'{"raeson":"late"}')


def test_what_takes_no_fields_refuses_them() -> None:
    BodyReader(NoFields).read(b"{}")
    with pytest.raises(InvalidInputError):
        BodyReader(NoFields).read(b'{"model":"x"}')
