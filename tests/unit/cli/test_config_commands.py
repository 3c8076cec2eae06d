"""`syntor config` shows and changes values, and refuses invalid ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syntor.cli.main import main


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of its own, and a working folder that is no project."""
    monkeypatch.setenv("SYNTOR_HOME", str(tmp_path / "home"))
    for name in ("SYNTOR_URL", "SYNTOR_INFERENCE_PROVIDER", "SYNTOR_INFERENCE_MODEL", "SYNTOR_OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> object:
    assert main([*arguments, "-o", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_value_that_is_set_is_shown_with_its_origin(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "set", "inference.models.docs", "mistral:7b"]) == 0
    assert "inference.models.documentation = mistral:7b" in capsys.readouterr().out
    assert _json(capsys, "config", "get", "inference.models.docs") == {
        "key": "inference.models.documentation",
        "value": "mistral:7b",
        "origin": f"user ({home / 'config.yaml'}, line 3)",
    }
    assert main(["config", "show", "--origin"]) == 0
    assert f"user ({home / 'config.yaml'}, line 3)" in capsys.readouterr().out
    assert main(["config", "reset", "inference.models.docs"]) == 0
    assert main(["config", "get", "inference.models.docs"]) == 0
    assert "mistral" not in capsys.readouterr().out


def test_secrets_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "set", "inference.default_model", "sk-abcdefghijklmnopqrstuv"]) == 0
    assert main(["config", "show"]) == 0
    assert main(["config", "show", "-o", "json"]) == 0
    assert "abcdefghijkl" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["get", "inference.defalt_model"], ["inference.default_model"]),
        (["set", "inference.defalt_model", "x"], ["inference.default_model"]),
        (["set", "inference.auto_pull", "perhaps"], ["inference.auto_pull", "perhaps", "true or false"]),
        (["set", "inference.models.wrker", "x"], ["wrker", "worker", "documentation"]),
        (["set", "cli.theme", "pink"], ["cli.theme", "pink", "dark"]),
        (["set", "inference.default_model", ""], ["inference.default_model"]),
        (["reset", "nosuch"], ["nosuch"]),
        (["trust"], [".syntor"]),
    ],
)
def test_wrong_keys_and_values_are_usage_errors(
    arguments: list[str], says: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", *arguments]) == 2
    error = capsys.readouterr().err
    for part in says:
        assert part in error


def test_an_invalid_file_is_exit_3_and_edit_still_opens_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir()
    (home / "config.yaml").write_text("inference:\n  providr: ollama\n")
    assert main(["config", "show"]) == 3
    assert "config.yaml, line 2" in capsys.readouterr().err
    monkeypatch.setenv("VISUAL", "sed -i s/providr/provider/")
    assert main(["config", "edit"]) == 0
    assert (home / "config.yaml").read_text() == "inference:\n  provider: ollama\n"


def test_an_edit_that_breaks_the_file_is_not_saved(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "set", "cli.theme", "dark"]) == 0
    monkeypatch.setenv("VISUAL", "sed -i s/theme/teme/")
    assert main(["config", "edit"]) == 3
    assert "config.rejected.yaml" in capsys.readouterr().err
    assert (home / "config.yaml").read_text() == "cli:\n  theme: dark\n"
    assert (home / "config.rejected.yaml").read_text() == "cli:\n  teme: dark\n"


def test_resetting_everything_needs_confirmation_and_keeps_the_old_file(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "set", "cli.theme", "dark"]) == 0
    assert main(["config", "reset"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert main(["config", "reset", "--yes"]) == 0
    assert not (home / "config.yaml").exists()
    assert "dark" in (home / "config.yaml.bak").read_text()


def test_a_project_layer_applies_once_it_is_trusted(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".syntor").mkdir()
    Path(".syntor/config.yaml").write_text("inference: {default_model: ollama/phi3}\n")
    assert main(["config", "get", "inference.default_model"]) == 0
    shown = capsys.readouterr()
    assert "phi3" not in shown.out
    assert "syntor config trust" in shown.err
    assert main(["config", "trust"]) == 0
    assert main(["config", "get", "inference.default_model"]) == 0
    assert "ollama/phi3" in capsys.readouterr().out
    assert main(["config", "trust", "--no"]) == 0
    assert main(["config", "get", "inference.default_model"]) == 0
    assert capsys.readouterr().err == ""
