"""Manifests of agents: the built-in ones are right, and a wrong one is refused by file and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.agentkit.manifest import read_manifest
from syntor.agentkit.tools.all import known_tools
from syntor.contracts.errors import ConfigurationError

BUILT_IN = sorted((Path(__file__).parents[3] / "services/syntor/agents").glob("*/manifest.yaml"))
KNOWN = known_tools()


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.parent.name)
def test_a_built_in_manifest_is_right_and_named_after_its_folder(path: Path) -> None:
    manifest = read_manifest(path, KNOWN)
    assert manifest.id == path.parent.name
    assert manifest.prompt
    assert manifest.profile(5).max_concurrent == 5


def test_there_are_five_built_in_agents() -> None:
    assert [path.parent.name for path in BUILT_IN] == ["coordination", "documentation", "git", "worker", "worker_code"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id: a.b\nname: x\ndescription: y\nprompt: p\n", "a.b"),
        ("id: a\nname: x\ndescription: y\nprompt: p\ntools: [fly]\n", "fly"),
        ("id: a\nname: x\ndescription: y\nprompt: p\ntype: robot\n", "robot"),
        ("id: a\nname: x\ndescription: y\nprompt: p\ncolour: red\n", "colour"),
        ("id: a\nname: x\n", "description"),
        ("id: [\n", "expected"),
        ("id: a\nname: x\ndescription: y\n", "prompt.md"),
        ("id: a\nname: x\ndescription: y\nprompt: p\nconstraints: {max_concurrent: 0}\n", "max_concurrent"),
    ],
)
def test_a_wrong_manifest_names_file_and_field(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=str(tmp_path)) as caught:
        read_manifest(path, KNOWN)
    assert says in str(caught.value)
