"""Manifests of agents: the built-in ones are right, and a wrong one is refused by file and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.agentkit.manifest import read_built_in_manifest, read_manifest
from syntor.agentkit.tools.catalog import known_tools
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.run.v1 import Budget
from syntor.documents import InvalidDocumentError

BUILT_IN = sorted((Path(__file__).parents[3] / "services/syntor/agents").glob("*/manifest.yaml"))
KNOWN = known_tools()


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.parent.name)
def test_a_built_in_manifest_is_right_and_named_after_its_folder(path: Path) -> None:
    manifest = read_manifest(path, KNOWN)
    assert manifest.id == path.parent.name
    assert manifest.prompt
    assert manifest.profile(5).max_concurrent == 5


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.parent.name)
def test_a_built_in_manifest_is_read_the_same_without_validation(path: Path) -> None:
    assert read_built_in_manifest(path) == read_manifest(path, KNOWN)


def test_there_are_five_built_in_agents() -> None:
    assert [path.parent.name for path in BUILT_IN] == ["coordination", "documentation", "git", "worker", "worker_code"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "id: a.b\nname: x\ndescription: y\nprompt: p\n",
            "manifest.yaml, line 1: id: expected 1 to 64 letters, digits",
        ),
        (
            "id: a\nname: x\ndescription: y\nprompt: p\ntools: [bsh]\n",
            "line 5: tools[0]: unknown tool 'bsh'; did you mean bash?",
        ),
        (
            "id: a\nname: x\ndescription: y\nprompt: p\ntype: robot\n",
            "line 5: type: expected service or worker, found 'robot'",
        ),
        ("id: a\nname: x\ndescription: y\nprompt: p\ncolour: red\n", "line 5: colour: unknown key"),
        ("id: a\nname: x\n", "description: is required"),
        ("id: [\n", "expected"),
        ("id: a\nname: x\ndescription: y\n", "prompt.md"),
        (
            "id: a\nname: x\ndescription: y\nprompt: p\nconstraints: {max_concurrent: 0}\n",
            "constraints.max_concurrent: expected 1 or more, found 0",
        ),
    ],
)
def test_a_wrong_manifest_names_file_and_field(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=str(tmp_path)) as caught:
        read_manifest(path, KNOWN)
    assert says in str(caught.value)


def test_every_error_of_a_manifest_is_listed_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text("id: a\nid: b\nname: x\ndescription: y\nprompt: p\nconstraints:\n  timeout_s: 0\n  budgt: 1\n")
    with pytest.raises(InvalidDocumentError) as caught:
        read_manifest(path, KNOWN)
    assert caught.value.problems == [
        f"{path}, line 2: id: is set twice",
        f"{path}, line 7: constraints.timeout_s: expected more than 0, found 0",
        f"{path}, line 8: constraints.budgt: unknown key; did you mean constraints.budget?",
    ]


def test_a_daily_budget_is_that_of_the_contracts(tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text("id: a\nname: x\ndescription: y\nprompt: p\nconstraints: {budget: {max_tokens: 5}}\n")
    assert read_manifest(path, KNOWN).constraints.daily_budget() == Budget(max_tokens=5)
