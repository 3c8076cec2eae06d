"""Conversations of the built-in agents with the local model (qwen2.5-coder:1.5b), recorded and held again.

The model's answers come from the recording; prompt, tools, policy and loop are those of today. So a change that would
have led elsewhere is seen: other tools offered, another prompt length, another result. A changed prompt must be
recorded anew: `syntor runs export ID` of a conversation in the repository made below, kept to the event types below.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syntor.agentkit.chat_agent import chat_agent
from syntor.agentkit.execution.budget_store import BudgetStore
from syntor.agentkit.manifest import Manifest, read_manifest
from syntor.agentkit.model_resolver import ModelResolver, ResolvedModel
from syntor.agentkit.tools.catalog import all_tools, known_tools
from syntor.agentkit.worker.task_context_factory import TaskContextFactory
from syntor.agentkit.worker.task_worker import TaskWorker
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.clock import now
from syntor.contracts.run.v1 import Permissions, UserInput
from syntor.contracts.task.v1 import AgentInvokeDone, DelegationRequested, LlmCallDone, LlmCallStarted, ToolResult
from syntor.models.chat import Bound, ChatRequest, Completed, StreamEvent, TextDelta, bound_of
from syntor.models.inference import ModelRef
from syntor.testing.memory import MemoryStore
from syntor.testing.tasks import StaticPeers, assign, delivery, no_other_instance

ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "tests" / "recorded"
AGENTS = ("worker", "worker_code", "documentation", "git", "coordination")
FILE = '''GREETING = "hello"
LIMIT = 10


def greet(name: str) -> str:
    """Return a greeting for a name; raises ValueError when it is longer than LIMIT."""
    if len(name) > LIMIT:
        raise ValueError(f"name has more than {LIMIT} letters")
    return f"{GREETING}, {name}"
'''
Json = dict[str, Any]


def _manifest(agent: str) -> Manifest:
    return read_manifest(ROOT / "services" / "syntor" / "agents" / agent / "manifest.yaml", known_tools())


def _recording(agent: str) -> list[Json]:
    lines = (RECORDED / f"{agent}.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["task"] in ("", "t1")]


def _of(events: list[Json], type_: str) -> list[Json]:
    return [event["data"] for event in events if event["type"] == type_]


class RecordedModel:
    """Returns the recorded completions, in order, and keeps the requests."""

    provider = "embedded"

    def __init__(self, completions: list[Json]) -> None:
        self._completions = iter(completions)
        self.requests: list[ChatRequest] = []

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        self.requests.append(request)
        recorded = msgspec.convert(next(self._completions), LlmCallDone)
        if recorded.text:
            yield TextDelta(recorded.text)
        yield Completed(
            text=recorded.text,
            tool_calls=recorded.tool_calls,
            finish_reason=recorded.finish_reason,
            usage=recorded.usage,
            model="m",
        )

    async def bound(self, request: ChatRequest) -> Bound:
        return bound_of(request)

    async def close(self) -> None:
        pass


class RecordedResolver(ModelResolver):
    """Resolves to the recorded model, whatever is configured."""

    def __init__(self, manifest: Manifest, model: RecordedModel, home: Path) -> None:
        super().__init__(manifest.id, "", [], home, {"SYNTOR_INFERENCE_PROVIDER": "embedded"})
        self._recorded = model

    def resolve(self, requested: str) -> ResolvedModel:
        """Return the recorded model."""
        return ResolvedModel(ModelRef("embedded", "qwen2.5-coder:1.5b"), self._recorded)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The repository the conversations were about."""
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "greet.py").write_text(FILE)
    (folder / "README.md").write_text("# Demo\n\nA small demo project.\n")
    _git(folder, "init", "-q", "-b", "main")
    _git(folder, "add", "-A")
    _git(folder, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "feat: greet")
    return folder


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("agent", AGENTS)
def test_the_prompt_is_the_one_the_conversation_was_recorded_with(agent: str) -> None:
    prompts: dict[str, str] = json.loads((RECORDED / "prompts.json").read_text())
    assert prompts[agent] == hashlib.sha256(_manifest(agent).prompt.encode()).hexdigest(), "record it anew"


@pytest.mark.parametrize("agent", AGENTS)
async def test_a_recorded_conversation_goes_the_same_way(agent: str, repository: Path, tmp_path: Path) -> None:
    recorded, manifest = _recording(agent), _manifest(agent)
    if agent == "git":
        (repository / "src" / "greet.py").write_text(FILE.replace("LIMIT = 10", "LIMIT = 20"))
        _git(repository, "add", "-A")
    model = RecordedModel(_of(recorded, "llm_call_done"))
    store = MemoryStore()
    [recorded_input] = _of(recorded, "user_input")
    request = UserInput(
        agent=manifest.id,
        queue=manifest.id,
        content=recorded_input["content"],
        workspace=str(repository),
        permissions=Permissions(mode="auto-edit"),
    )
    tools = {name: tool for name, tool in all_tools().items() if name in manifest.tools}
    known = {name: AgentProfile(agent_id=name, name=name, queue=name) for name in AGENTS}
    models = RecordedResolver(manifest, model, tmp_path)
    contexts = TaskContextFactory(manifest, store, models, tools, StaticPeers(known), BudgetStore(store, "test", now))
    worker = TaskWorker(manifest.id, "i1", chat_agent(manifest), store, contexts, no_other_instance)
    await worker.handle(delivery(await assign(store, request)))
    events = [event.event async for event in store.load("syntor.events.task.r1.>")]

    started = [event for event in events if isinstance(event, LlmCallStarted)]
    offered = [(event.message_count, event.tool_names) for event in started]
    then = [(data["message_count"], data.get("tool_names", [])) for data in _of(recorded, "llm_call_started")]
    delegated = [event for event in events if isinstance(event, DelegationRequested)]
    if delegated:  # the conversation continues once the other agent has answered
        assert offered == then[:1]
        assert [event.agent for event in delegated] == ["git"]
        return
    assert offered == _with_nudges(then)
    results = [event.content for event in events if isinstance(event, ToolResult)]
    assert results == [data["content"] for data in _of(recorded, "tool_result")]
    end = events[-1]
    assert isinstance(end, AgentInvokeDone)
    assert end.final_message == _of(recorded, "run_done")[0]["final_message"]
    assert model.requests[0].messages[0].content.startswith(manifest.prompt)
    _check(agent, end.final_message, repository)


def _with_nudges(recorded: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Return what is offered now: where a repeated call once took the tools away, a message is added."""
    expected: list[tuple[int, list[str]]] = []
    for messages, tools in recorded:
        nudged = not tools and bool(expected)
        expected.append((messages + 1, expected[-1][1]) if nudged else (messages, tools))
    return expected


def _check(agent: str, answer: str, repository: Path) -> None:
    """Check the purpose of the prompt."""
    match agent:
        case "git":
            first = answer.splitlines()[0]
            assert re.match(r"(feat|fix|docs|refactor|test|perf|build|ci|chore)(\([^)]+\))?: \S", first)
            assert len(first) <= 72
            assert "limit" in first.lower()
        case "documentation":
            assert all(name in answer for name in ("greet", "name", "ValueError", "LIMIT"))
            assert (repository / "src" / "greet.py").read_text() == FILE
        case "worker_code":
            assert _git(repository, "diff", "--stat").count("|") == 1
            assert "LIMIT = 20" in (repository / "src" / "greet.py").read_text()
        case _:
            assert "ValueError" in answer
