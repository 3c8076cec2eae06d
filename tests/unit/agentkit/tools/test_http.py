"""What an approval of http_request shows is all that leaves, in the form that is requested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.domain.tool_policy import ALLOW, REQUIRE_APPROVAL, decide
from syntor.agentkit.tools.http import HTTP_TOOLS, HttpRequest, http_request
from syntor.agentkit.tools.paths import proposed_call
from syntor.agentkit.tools.sandbox import limits_only
from syntor.agentkit.tools.tool import ToolRun
from syntor.contracts.run.v1 import Permissions

[TOOL] = HTTP_TOOLS


def test_an_approval_shows_method_url_headers_and_the_whole_body(tmp_path: Path) -> None:
    body = '{"note": "' + "x" * 9000 + 'the end"}'
    headers = {"Authorization": "Bearer sk-verysecret", "X-Api-Key": "abc", "X-Trace": "seen", "Cookie": "a=b"}
    shown = TOOL.preview(tmp_path, HttpRequest("HTTP://Example.ORG:8080/a?b=c#d", "post", headers, body))
    assert shown.startswith("POST http://example.org:8080/a?b=c\n")
    for line in ("Authorization: (20 characters, hidden)", "X-Api-Key: (3 characters, hidden)", "X-Trace: seen"):
        assert line in shown
    assert "verysecret" not in shown
    assert f"body, {len(body)} bytes:\n{body}\n(end of the body)" in shown


@pytest.mark.parametrize(
    "given",
    [
        {"url": "http://127.0.0.1@example.org/"},
        {"url": "http://user:password@example.org/"},
        {"url": "http://example.org\\@127.0.0.1/"},
        {"url": "http://exam\tple.org/"},
        {"url": "http://example.org/a b"},
        {"url": "http://ex\u0430mple.org/"},
        {"url": "http://example.org:99999/"},
        {"url": "http://[::1/"},
        {"url": "unix:///run/docker.sock"},
        {"url": "http+unix://%2Frun%2Fdocker.sock/x"},
        {"url": "file:///etc/passwd"},
        {"url": "http:///x"},
        {"url": "http://example.org/", "method": "CONNECT"},
        {"url": "http://example.org/", "headers": {"Host": "127.0.0.1"}},
        {"url": "http://example.org/", "headers": {"transfer-encoding": "chunked"}},
    ],
)
async def test_what_parsers_read_differently_is_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    run = ToolRun(workspace=tmp_path, sandbox=limits_only(tmp_path, "a test"), key="k")
    arguments = msgspec.convert(given, HttpRequest)
    with pytest.raises(ToolError):
        await http_request(run, arguments)
    assert TOOL.preview(tmp_path, arguments)  # an approval that is asked for it can be shown


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1:3000", "[::1]:3000", "2130706433", "0x7f.1", "0.0.0.0"])
def test_this_machine_is_asked_for_in_every_mode(tmp_path: Path, host: str) -> None:
    for mode in ("auto", "auto-edit", "ask"):
        call = proposed_call(TOOL, HttpRequest(f"http://{host}/x"), tmp_path)
        assert decide(call, Permissions(mode=mode)).decision == REQUIRE_APPROVAL
    verdict = decide(call, Permissions(mode="auto"))
    assert verdict.reason == "calls a program on this machine"
    assert decide(call, Permissions(mode="auto", allow=[verdict.rule])).decision == ALLOW
    elsewhere = proposed_call(TOOL, HttpRequest("https://example.org/x"), tmp_path)
    assert decide(elsewhere, Permissions(mode="auto")).decision == ALLOW
