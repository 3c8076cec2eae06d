"""Manifests of user-defined agents: names of built-in agents and the external-agent gateway's queue are reserved."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.agents.user_defined.manifests import Manifests


@pytest.mark.parametrize("agent_id", ["git", "coord", "external"])
def test_a_reserved_name_is_refused(tmp_path: Path, agent_id: str) -> None:
    file = tmp_path / "agents" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(f"id: {agent_id}\nname: Mine\ndescription: d\nprompt: p\n")
    found = Manifests(tmp_path, frozenset()).scan()
    assert not found.manifests
    assert f"{agent_id!r} belongs to a built-in agent" in found.problems[file]


def test_another_name_is_served(tmp_path: Path) -> None:
    file = tmp_path / "agents" / "mine.yaml"
    file.parent.mkdir()
    file.write_text("id: mine\nname: Mine\ndescription: d\nprompt: p\n")
    assert list(Manifests(tmp_path, frozenset()).scan().manifests) == ["mine"]
