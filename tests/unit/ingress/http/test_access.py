"""Tokens allow what their scopes say and nothing else; a caller above its rate is told when to repeat."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast, get_args

import pytest
from starlette.requests import Request

from syntor.contracts.errors import ConfigurationError, InvalidInputError, NotFoundError
from syntor.ingress.api.table import route_table
from syntor.ingress.gateway import Gateway
from syntor.ingress.http.access import Access, OpenTo, RateLimit, Scope
from syntor.ingress.http.context import attach, context_of
from syntor.ingress.http.errors import ForbiddenError, TooManyRequestsError, UnauthorizedError
from syntor.ingress.settings import read_ingress_settings
from syntor.runtime.local_key import KeyFile, ensure_key, local_user
from syntor.runtime.tokens import SCOPES, TokenFile, create_token, read_tokens, revoke_token

NOW = datetime.now(UTC)
TABLE: dict[tuple[str, str], Scope | None] = {
    (row.method, row.path): row.scope for row in route_table(cast("Gateway", None), agent_timeout_s=1.0)
}


def _request(token: str = "", scheme: str = "Bearer", address: str = "10.0.0.1") -> Request:
    headers = [(b"authorization", f"{scheme} {token}".encode())] if token else []
    headers.append((b"host", b"127.0.0.1:8420"))
    scope = {"type": "http", "path": "/v1/x", "query_string": b"", "headers": headers, "client": (address, 5)}
    scope |= {"scheme": "http", "server": ("127.0.0.1", 8420)}
    attach(scope)
    return Request(scope)


def _access(home: Path, *, open_to: OpenTo | None = None, wrong_tokens: int = 0) -> Access:
    return Access(TokenFile(home), KeyFile(home), reads_open=open_to, wrong_tokens=wrong_tokens)


def test_only_the_hash_is_kept_and_only_for_the_owner(tmp_path: Path) -> None:
    token, text = create_token(tmp_path, "laptop", ["read"], None, NOW)
    path = tmp_path / "tokens.json"
    secret = text.split("_", 2)[2]
    assert text.startswith(f"syntor_{token.id}_")
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert TokenFile(tmp_path).find(text) == token


def test_a_token_that_is_wrong_expired_or_revoked_is_invalid(tmp_path: Path) -> None:
    token, text = create_token(tmp_path, "laptop", ["read"], None, NOW)
    _, old = create_token(tmp_path, "old", ["read"], 1, NOW - timedelta(days=2))
    file = TokenFile(tmp_path)
    for wrong in ("", "x", text[:-1], text + "x", text.upper(), f"other_{token.id}_x", old, f"syntor_{token.id}"):
        assert file.find(wrong) is None
    assert file.find(text) is not None
    revoke_token(tmp_path, "laptop")
    assert file.find(text) is None
    with pytest.raises(NotFoundError, match="laptop"):
        revoke_token(tmp_path, "laptop")


def test_invalid_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="'write': expected read, run, approve, admin"):
        create_token(tmp_path, "x", ["write"], None, NOW)
    with pytest.raises(InvalidInputError, match="at least one scope"):
        create_token(tmp_path, "x", [], None, NOW)
    with pytest.raises(InvalidInputError, match="days 0"):
        create_token(tmp_path, "x", ["read"], 0, NOW)
    (tmp_path / "tokens.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"tokens\.json"):
        read_tokens(tmp_path)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_opens_its_routes_and_no_others(tmp_path: Path, scope: str) -> None:
    _, text = create_token(tmp_path, "x", [scope], None, NOW)
    access = _access(tmp_path)
    for (_, path), needed in TABLE.items():
        if needed is None:
            assert path.startswith(("/openapi.json", "/docs", "/problems/"))
        elif scope in ("admin", needed):
            access.check(_request(text), needed)
        else:
            with pytest.raises(ForbiddenError, match="has no scope"):
                access.check(_request(text), needed)


def test_the_scopes_of_routes_are_those_of_tokens() -> None:
    assert get_args(Scope) == SCOPES


def test_what_each_route_needs() -> None:
    needed = TABLE
    assert needed["GET", "/docs"] is needed["GET", "/openapi.json"] is needed["GET", "/problems/{code}"] is None
    assert {scope for (method, path), scope in needed.items() if method == "GET" and path > "/openapi.json"} <= {
        "read",
        None,
    }
    assert needed["POST", "/v1/runs"] == "run"
    assert needed["GET", "/v1/runs/{run_id}/approvals/{approval_id}"] == "read"
    assert needed["POST", "/v1/runs/{run_id}/approvals/{approval_id}"] == "approve"
    assert needed["POST", "/v1/runs/{run_id}/tool_results/{call}"] == "approve"
    assert needed["POST", "/v1/agents/register"] == "admin"
    assert needed["DELETE", "/v1/agents/{agent_id}"] == "admin"
    assert needed["DELETE", "/v1/dead_letters/{number}"] == "admin"


def test_a_token_is_needed_where_other_machines_reach_the_server(tmp_path: Path) -> None:
    _, text = create_token(tmp_path, "laptop", ["read"], None, NOW)
    with pytest.raises(UnauthorizedError, match="needs a token"):
        _access(tmp_path).check(_request(), "read")
    _access(tmp_path, open_to=lambda _: True).check(_request(), "read")
    for wrong in (_request("nonsense"), _request(text, "Basic")):
        with pytest.raises(UnauthorizedError, match="wrong, revoked or expired"):
            _access(tmp_path, open_to=lambda _: True).check(wrong, "read")
    request = _request(text)
    _access(tmp_path).check(request, "read")
    assert context_of(request).caller == "laptop"


@pytest.mark.parametrize("scope", ["run", "approve", "admin"])
def test_on_loopback_changing_anything_needs_the_key_of_the_local_user(tmp_path: Path, scope: Scope) -> None:
    key = ensure_key(tmp_path)
    access = _access(tmp_path, open_to=lambda _: True)
    with pytest.raises(UnauthorizedError, match=rf"cat {tmp_path}/key\)\" http://127.0.0.1:8420/v1/x") as caught:
        access.check(_request(address="127.0.0.1"), scope)
    assert key not in str(caught.value)
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        request = _request(key, address=address)
        access.check(request, scope)
        assert context_of(request).caller == local_user()
    with pytest.raises(UnauthorizedError, match="wrong, revoked or expired"):
        access.check(_request(key, address="10.0.0.1"), scope)


def test_reading_without_the_key_is_for_whom_it_is_open(tmp_path: Path) -> None:
    local = _request(address="127.0.0.1")
    _access(tmp_path, open_to=lambda request: request.client == local.client).check(local, "read")
    for refused in (lambda _: False, None):
        with pytest.raises(UnauthorizedError, match="needs the key in"):
            _access(tmp_path, open_to=refused).check(local, "read")


def test_a_key_that_is_replaced_counts_immediately_and_one_others_can_read_no_more(tmp_path: Path) -> None:
    access, key = _access(tmp_path), ensure_key(tmp_path)
    access.check(_request(key, address="127.0.0.1"), "admin")
    (tmp_path / "key").unlink()
    with pytest.raises(UnauthorizedError):
        access.check(_request(key, address="127.0.0.1"), "admin")
    renewed = ensure_key(tmp_path)
    access.check(_request(renewed, address="127.0.0.1"), "admin")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(UnauthorizedError, match="has mode 0644"):
        access.check(_request(renewed, address="127.0.0.1"), "admin")


def test_a_server_other_machines_reach_does_not_start_without_a_token(tmp_path: Path) -> None:
    environ = {"SYNTOR_HOME": str(tmp_path), "SYNTOR_HTTP_HOST": "0.0.0.0"}
    with pytest.raises(ConfigurationError, match="syntor tokens create"):
        read_ingress_settings(environ)
    create_token(tmp_path, "x", ["read"], None, NOW)
    assert read_ingress_settings(environ).http_host == "0.0.0.0"
    with pytest.raises(ConfigurationError, match="set both, or none"):
        read_ingress_settings({"SYNTOR_HOME": str(tmp_path), "SYNTOR_TLS_CERT": "x.pem"})


def test_a_caller_above_its_rate_is_told_when_to_repeat() -> None:
    limit = RateLimit(2.0)
    for _ in range(20):
        limit.check("a", 100.0)
    with pytest.raises(TooManyRequestsError) as caught:
        limit.check("a", 100.0)
    assert caught.value.retry_after_s == 0.5
    limit.check("b", 100.0)
    limit.check("a", 100.6)
    RateLimit(0.0).check("a", 0.0)


@pytest.mark.parametrize("open_to", [None, lambda _: True])
def test_an_address_that_sends_wrong_tokens_is_limited_and_a_valid_token_is_not(
    tmp_path: Path, open_to: OpenTo | None
) -> None:
    _, text = create_token(tmp_path, "laptop", ["read"], None, NOW)
    access = _access(tmp_path, open_to=open_to, wrong_tokens=3)
    for _ in range(3):
        with pytest.raises(UnauthorizedError):
            access.check(_request("nonsense"), "read")
    with pytest.raises(TooManyRequestsError, match="more than 3 requests with a wrong or no token a minute") as caught:
        access.check(_request("nonsense"), "read")
    assert 0 < caught.value.retry_after_s <= 20
    access.check(_request(text), "read")
    with pytest.raises(UnauthorizedError):
        access.check(_request("nonsense", address="10.0.0.2"), "read")


def test_requests_without_a_token_count_where_one_is_needed(tmp_path: Path) -> None:
    access = _access(tmp_path, wrong_tokens=1)
    with pytest.raises(UnauthorizedError):
        access.check(_request(), "read")
    with pytest.raises(TooManyRequestsError):
        access.check(_request(), "read")


def test_a_host_cannot_change_its_ipv6_address_to_go_on(tmp_path: Path) -> None:
    access = _access(tmp_path, wrong_tokens=1)
    with pytest.raises(UnauthorizedError):
        access.check(_request("x", address="2001:db8::1"), "read")
    with pytest.raises(TooManyRequestsError):
        access.check(_request("x", address="2001:db8::ffff:2"), "read")
    with pytest.raises(UnauthorizedError):
        access.check(_request("x", address="2001:db8:0:1::1"), "read")
    with pytest.raises(UnauthorizedError):
        access.check(_request("x", address="::ffff:10.0.0.1"), "read")
    with pytest.raises(TooManyRequestsError):
        access.check(_request("x", address="10.0.0.1"), "read")


@pytest.mark.parametrize(("name", "value"), [("HEAD_BYTES", "100"), ("HEAD_BYTES", "9999999"), ("WRONG_TOKENS", "-1")])
def test_limits_outside_their_bounds_are_refused(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"SYNTOR_HTTP_{name}='{value}'"):
        read_ingress_settings({"SYNTOR_HOME": str(tmp_path), f"SYNTOR_HTTP_{name}": value})
