"""User-defined agents are added, changed and removed with their files; an invalid file affects no other agent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack

Wait = Callable[..., Any]
SCRIPT = """
rules:
  - match: long
    text: one two three four five six seven eight nine ten
    chunk_words: 1
    chunk_delay_s: 0.3
  - text: A verse.
"""
POET = "id: poet\nname: Poet\naliases: [bard]\ndescription: Answers in verse\nprompt: You answer in verse.\n"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    local = LocalStack(tmp_path_factory.mktemp("home"), script=SCRIPT)
    local.up("--durability", "fast")
    yield local
    local.down()


@pytest.fixture
def poet(stack: LocalStack) -> Iterator[Path]:
    file = stack.home / "agents" / "poet.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(POET)
    yield file
    file.unlink(missing_ok=True)


def _known(stack: LocalStack) -> dict[str, str]:
    agents = httpx2.get(f"{stack.url}/v1/agents", timeout=10).json()["agents"]
    return {each["profile"]["agent_id"]: each["profile"]["description"] for each in agents}


def test_an_agent_is_added_changed_and_removed_with_its_file(stack: LocalStack, poet: Path, wait_for: Wait) -> None:
    wait_for(lambda: "poet" in _known(stack))
    for name in ("poet", "bard"):
        done = stack.syntor("chat", "--agent", name, "hello")
        assert (done.returncode, done.stdout.strip()) == (0, "A verse."), done.stderr
    poet.write_text(POET.replace("Answers in verse", "Sings"))
    wait_for(lambda: _known(stack)["poet"] == "Sings")
    poet.unlink()
    wait_for(lambda: "poet" not in _known(stack))
    gone = stack.syntor("chat", "--agent", "poet", "hello")
    assert gone.returncode == 1
    assert "no agent 'poet'" in gone.stderr


def test_one_whose_id_an_external_agent_has_is_refused_and_stops_no_other(
    stack: LocalStack, poet: Path, wait_for: Wait
) -> None:
    drummer, manifest = poet.with_name("drummer.yaml"), POET.replace("poet", "drummer").replace("bard", "beats")
    drummer.write_text(manifest)
    wait_for(lambda: {"poet", "drummer"} <= set(_known(stack)))
    drummer.unlink()
    wait_for(lambda: "drummer" not in _known(stack))
    body = {"agent_id": "drummer", "name": "Other", "description": "outside", "endpoint": "http://127.0.0.1:9"}
    registered = httpx2.post(f"{stack.url}/v1/agents/register", json=body, timeout=10)
    assert registered.status_code == 200, registered.text
    before = stack.service("agent-user-defined")["pid"]
    drummer.write_text(manifest)  # its queue exists: the registry's refusal comes after the agent began
    log = stack.home / "logs" / "agent-user-defined.log"
    wait_for(lambda: "DELETE /v1/agents/drummer" in log.read_text())
    assert _known(stack)["drummer"] == "outside"
    assert stack.syntor("chat", "--agent", "poet", "hello").stdout.strip() == "A verse."
    assert stack.service("agent-user-defined")["pid"] == before
    drummer.unlink()
    poet.unlink()
    wait_for(lambda: "poet" not in _known(stack))
    assert httpx2.delete(f"{stack.url}/v1/agents/drummer", timeout=10).status_code == 200


def test_its_constraints_hold_also_when_they_change(stack: LocalStack, poet: Path, wait_for: Wait) -> None:
    poet.write_text(POET + "constraints: {timeout_s: 0.5, max_concurrent: 2}\n")
    wait_for(lambda: "poet" in _known(stack))
    late = stack.syntor("chat", "--agent", "poet", "a long one")
    assert late.returncode == 6, late.stderr
    assert "poet took longer than 0.5 s" in late.stderr
    poet.write_text(POET + "constraints: {max_concurrent: 1, budget: {max_calls: 1}}\n")
    shown = ("agents", "show", "poet", "-o", "json")
    wait_for(lambda: json.loads(stack.syntor(*shown).stdout)["profile"]["max_concurrent"] == 1)
    assert stack.syntor("chat", "--agent", "poet", "hello").returncode == 0
    spent = stack.syntor("chat", "--agent", "poet", "hello")
    assert spent.returncode == 6, spent.stderr
    assert "agent poet on" in spent.stderr
    assert "max_calls is reached" in spent.stderr


INVALID = {
    "key": (POET + "tols: [bash]\n", "tols"),
    "tool": (POET + "tools: [fly]\n", "unknown tool 'fly'; there are"),
    "number": (POET + "constraints: {timeout_s: 0}\n", "constraints.timeout_s: expected more than 0"),
    "yaml": ("id: [", "yaml.yaml"),
    "owner": (POET.replace("id: poet", "id: git"), "belongs to a built-in agent"),
}


def test_invalid_files_are_reported_and_skipped(stack: LocalStack, wait_for: Wait) -> None:
    folder = stack.home / "agents"
    folder.mkdir(exist_ok=True)
    for name, (text, _) in INVALID.items():
        (folder / f"{name}.yaml").write_text(text.replace("poet", f"poet-{name}").replace("bard", f"bard-{name}"))
    (folder / "other.yaml").write_text(POET.replace("poet", "other").replace("bard", "other2"))
    try:
        wait_for(lambda: "other" in _known(stack))
        log = stack.home / "logs" / "agent-user-defined.log"
        for _, says in INVALID.values():
            wait_for(lambda says=says: says in log.read_text())
        assert not any(agent.startswith("poet") for agent in _known(stack))
        findings = stack.syntor("doctor").stdout
        assert [name for name, (_, says) in INVALID.items() if says not in findings] == ["owner"]
    finally:
        for name in (*INVALID, "other"):
            (folder / f"{name}.yaml").unlink()
