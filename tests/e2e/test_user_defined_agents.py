"""User-defined agents are added, changed and removed with their files; an invalid file affects no other agent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
    agents = json.loads(stack.syntor("agents", "list", "-o", "json").stdout)["agents"]
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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (POET + "tols: [bash]\n", "tols"),
        (POET + "tools: [fly]\n", "unknown tool 'fly'; there are"),
        (POET.replace("id: poet", "id: git"), "belongs to a built-in agent"),
        (POET + "constraints: {timeout_s: 0}\n", "constraints.timeout_s: expected more than 0"),
        ("id: [", "poet.yaml"),
    ],
)
def test_an_invalid_file_is_reported_and_skipped(
    stack: LocalStack, poet: Path, wait_for: Wait, text: str, says: str
) -> None:
    other = poet.with_name("other.yaml")
    other.write_text(POET.replace("poet", "other").replace("bard", "other2"))
    poet.write_text(text)
    try:
        wait_for(lambda: says in (stack.home / "logs" / "agent-user-defined.log").read_text())
        wait_for(lambda: "other" in _known(stack))
        assert "poet" not in _known(stack)
        if "built-in" not in says:
            assert says in stack.syntor("doctor").stdout
    finally:
        other.unlink()
