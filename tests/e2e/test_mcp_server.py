"""Syntor as an MCP server: another host's client over standard streams, on a whole stack."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from mcp import Client, StdioServerParameters

from syntor.testing.local_stack import LocalStack

DEADLINE_S = 60.0
SCRIPT = {
    "rules": [
        {"match": "one file", "tool_calls": [{"name": "write_file", "arguments": {"path": "one.txt", "content": "1"}}]},
        {"match": "colour", "tool_calls": [{"name": "ask_user", "arguments": {"question": "Which?"}}]},
        {"match": "long", "delay_s": 30, "text": "late"},
        {"tool_result": ".", "text": "Done."},
        {"text": "hello from Syntor"},
    ]
}  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    local = LocalStack(tmp_path_factory.mktemp("home"), script=yaml.safe_dump(SCRIPT, sort_keys=False))
    local.up("--durability", "fast")
    yield local
    local.down()


@asynccontextmanager
async def _host(stack: LocalStack, folder: Path, *options: str) -> AsyncGenerator[Client, None]:
    arguments = ["-m", "syntor.cli.main", "mcp", "serve", "--workspace", str(folder), *options]
    server = StdioServerParameters(command=sys.executable, args=arguments, env=stack.environ)
    async with asyncio.timeout(DEADLINE_S), Client(server, read_timeout_seconds=DEADLINE_S) as client:
        yield client


async def _call(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    found: dict[str, Any] = result.structured_content or json.loads(result.content[0].text)  # type: ignore[union-attr]
    return found


async def test_a_host_runs_an_agent_and_sees_its_progress(stack: LocalStack, tmp_path: Path) -> None:
    seen: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message or "")

    async with _host(stack, tmp_path) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {
            *("list_agents", "run_agent", "wait_run", "get_run", "get_events", "cancel_run"),
        }
        agents = await _call(client, "list_agents")
        assert "worker" in {agent["id"] for agent in agents["agents"]}
        result = await client.call_tool("run_agent", {"agent": "worker", "input": "hi"}, progress_callback=on_progress)
        done = result.structured_content or {}
        assert (done["status"], done["result"]) == ("done", "hello from Syntor")
        assert "worker works" in seen
        events = await _call(client, "get_events", run_id=done["run_id"], last=2)
        assert [event["type"] for event in events["events"]] == ["agent_invoke_done", "run_done"]
        unknown = await client.call_tool("run_agent", {"agent": "nope", "input": "hi"})
        assert unknown.is_error
        missing = await client.call_tool("get_run", {"run_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"})
        assert missing.is_error


async def test_a_host_cannot_approve_itself(stack: LocalStack, tmp_path: Path) -> None:
    async with _host(stack, tmp_path) as client:
        waiting = await _call(client, "run_agent", agent="worker", input="one file")
        assert waiting["status"] == "paused_waiting_approval"
        [approval] = waiting["approvals"]
        assert approval["decide_with"].startswith("syntor approvals approve ")
        refused = await client.call_tool("decide_approval", {"run_id": waiting["run_id"], "approved": True})
        assert refused.is_error
        assert not (tmp_path / "one.txt").exists()
        decided = await asyncio.to_thread(stack.syntor, "approvals", "approve", waiting["run_id"])
        assert decided.returncode == 0, decided.stderr
        done = await _call(client, "wait_run", run_id=waiting["run_id"])
        assert (done["status"], (tmp_path / "one.txt").read_text()) == ("done", "1")


async def test_a_person_may_allow_decisions_and_another_mode(stack: LocalStack, tmp_path: Path) -> None:
    async with _host(stack, tmp_path, "--allow-decisions", "--mode", "auto-edit") as client:
        assert (await _call(client, "run_agent", agent="worker", input="one file"))["status"] == "done"
        waiting = await _call(client, "run_agent", agent="worker", input="colour")
        [question] = waiting["questions"]
        assert (question["text"], waiting["status"]) == ("Which?", "paused_waiting_tool")
        await _call(
            client, "answer_question", run_id=waiting["run_id"], question_id=question["question_id"], text="blue"
        )
        assert (await _call(client, "wait_run", run_id=waiting["run_id"]))["status"] == "done"
        assert '"content":"blue"' in json.dumps(
            await _call(client, "get_events", run_id=waiting["run_id"]), separators=(",", ":")
        )


async def test_a_cancelled_call_cancels_its_run(stack: LocalStack, tmp_path: Path) -> None:
    async with _host(stack, tmp_path) as client:
        call = asyncio.create_task(client.call_tool("run_agent", {"agent": "worker", "input": "long"}))
        with httpx2.Client(base_url=stack.url) as api:

            def newest() -> dict[str, Any]:
                runs: list[dict[str, Any]] = api.get("/v1/runs", params={"limit": 1}).json()["runs"]
                return runs[0]

            async with asyncio.timeout(DEADLINE_S):
                while (run := await asyncio.to_thread(newest))["input"] != "long" or run["status"] != "running":
                    pass
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                while (await asyncio.to_thread(newest))["status"] != "cancelled":
                    pass
