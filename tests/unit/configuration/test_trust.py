"""A project's own configuration counts only once the user has trusted its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.configuration.trust import Trust, find_project, remember, trust_of
from syntor.contracts.errors import ConfigurationError


def test_the_nearest_folder_upwards_is_the_project(tmp_path: Path) -> None:
    (tmp_path / "outer" / ".syntor").mkdir(parents=True)
    (tmp_path / "outer" / "inner" / ".syntor").mkdir(parents=True)
    (tmp_path / "outer" / "inner" / "deep").mkdir()
    home = tmp_path / ".syntor"
    home.mkdir()
    assert find_project(tmp_path / "outer" / "inner" / "deep", home) == tmp_path / "outer" / "inner"
    assert find_project(tmp_path / "outer", home) == tmp_path / "outer"
    assert find_project(tmp_path, home) is None


def test_an_answer_is_kept_and_can_be_changed(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    assert trust_of(home, project) is Trust.UNKNOWN
    remember(home, project, Trust.REFUSED)
    assert trust_of(home, project) is Trust.REFUSED
    remember(home, tmp_path / "other", Trust.TRUSTED)
    remember(home, project, Trust.TRUSTED)
    assert (trust_of(home, project), trust_of(home, tmp_path / "other")) == (Trust.TRUSTED, Trust.TRUSTED)


@pytest.mark.parametrize("text", ["[", "- a\n", "just words"])
def test_a_broken_file_of_answers_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "trusted.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"trusted\.yaml"):
        trust_of(tmp_path, tmp_path / "project")
