"""Changing one key leaves the rest of the file as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.configuration.document import read_document
from syntor.configuration.editing import set_value, unset_value, write_text
from syntor.contracts.errors import ConfigurationError

TEXT = """\
# mine
inference:
  provider: ollama  # the box in the cellar
  models:
    docs: mistral:7b
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A configuration with comments."""
    (tmp_path / "config.yaml").write_text(TEXT)
    return tmp_path / "config.yaml"


def test_comments_and_other_values_stay(path: Path) -> None:
    set_value(path, "inference.models.git", "phi3:mini")
    set_value(path, "inference.auto_pull", False)
    assert path.read_text() == TEXT + "    git: phi3:mini\n  auto_pull: false\n"


def test_a_value_is_replaced(path: Path) -> None:
    set_value(path, "inference.provider", "embedded")
    assert read_document(path)["inference.provider"].value == "embedded"
    assert "# the box in the cellar\n  models:\n    docs: mistral:7b\n" in path.read_text()


def test_a_key_written_by_its_alias_is_not_set_twice(path: Path) -> None:
    set_value(path, "inference.models.documentation", "other")
    assert {name: entry.value for name, entry in read_document(path).items()} == {
        "inference.provider": "ollama",
        "inference.models.documentation": "other",
    }
    assert unset_value(path, "inference.models.documentation")
    assert "models" not in path.read_text()


def test_a_file_and_its_folder_are_made(tmp_path: Path) -> None:
    set_value(tmp_path / "new" / "config.yaml", "inference.fallbacks.git", ["a", "b"])
    assert read_document(tmp_path / "new" / "config.yaml")["inference.fallbacks.git"].value == ["a", "b"]


def test_what_is_not_set_cannot_be_unset(path: Path) -> None:
    assert not unset_value(path, "cli.theme")
    assert path.read_text() == TEXT


def test_unsetting_the_last_key_leaves_an_empty_file(tmp_path: Path) -> None:
    set_value(tmp_path / "config.yaml", "cli.theme", "dark")
    assert unset_value(tmp_path / "config.yaml", "cli.theme")
    assert (tmp_path / "config.yaml").read_text() == ""


def test_a_wrong_text_never_replaces_the_file(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"line 1.*inferense"):
        write_text(path, "inferense: {}\n")
    assert path.read_text() == TEXT


def test_a_wrong_file_is_not_edited(path: Path) -> None:
    path.write_text("inference: [")
    with pytest.raises(ConfigurationError, match=r"config\.yaml, line"):
        set_value(path, "cli.theme", "dark")
    assert path.read_text() == "inference: ["
