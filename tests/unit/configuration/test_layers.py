"""A later layer wins, key by key, and every value knows who set it."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.configuration import load_configuration
from syntor.contracts.errors import ConfigurationError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with a configuration."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.yaml").write_text(
        "inference:\n  provider: ollama\n  ollama_host: http://box:11434\n  models:\n    git: llama3.2:8b\n"
    )
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder with a configuration."""
    (tmp_path / "project" / ".syntor").mkdir(parents=True)
    (tmp_path / "project" / ".syntor" / "config.yaml").write_text("inference:\n  models: {git: mistral:7b}\n")
    return tmp_path / "project"


def test_nothing_set_is_the_defaults(tmp_path: Path) -> None:
    found = load_configuration(tmp_path, None, {}, {})
    assert found.inference.provider == "embedded"
    assert found.inference.auto_pull is True
    assert found.cli.theme == "auto"
    assert {value.layer for value in found.values.values()} == {"default"}


def test_each_layer_wins_over_those_before(home: Path, project: Path) -> None:
    environ = {"SYNTOR_MODEL_GIT": "from-environment"}
    flags = {"inference.models.git": "from-flag"}
    assert load_configuration(home, None, {}, {}).model_for("git")[0] == "ollama/llama3.2:8b"
    assert load_configuration(home, project, {}, {}).model_for("git")[0] == "ollama/mistral:7b"
    assert load_configuration(home, project, environ, {}).model_for("git")[0] == "ollama/from-environment"
    assert load_configuration(home, project, environ, flags).model_for("git")[0] == "ollama/from-flag"


def test_a_value_says_where_it_was_set(home: Path) -> None:
    found = load_configuration(home, None, {"SYNTOR_OLLAMA_HOST": "http://other:1"}, {"cli.theme": "dark"})
    provider, host, theme = (found.get(key) for key in ("inference.provider", "inference.ollama_host", "cli.theme"))
    assert provider is not None
    assert host is not None
    assert theme is not None
    assert provider.origin == f"user ({home / 'config.yaml'}, line 2)"
    assert (host.value, host.origin) == ("http://other:1", "environment (SYNTOR_OLLAMA_HOST)")
    assert theme.origin == "flag (cli.theme)"


def test_a_later_provider_brings_its_own_default_models(home: Path) -> None:
    model, origin = load_configuration(home, None, {"SYNTOR_INFERENCE_PROVIDER": "scripted"}, {}).model_for("git")
    assert model.startswith("scripted/")
    assert origin == "environment (SYNTOR_INFERENCE_PROVIDER)"


def test_naming_the_same_provider_again_changes_no_model(home: Path) -> None:
    found = load_configuration(home, None, {"SYNTOR_INFERENCE_PROVIDER": "ollama"}, {})
    assert found.model_for("git")[0] == "ollama/llama3.2:8b"


def test_a_later_default_model_wins_over_an_earlier_model_of_the_agent(home: Path) -> None:
    found = load_configuration(home, None, {"SYNTOR_INFERENCE_MODEL": "ollama/phi3:mini"}, {})
    assert found.model_for("git") == ("ollama/phi3:mini", "environment (SYNTOR_INFERENCE_MODEL)")


def test_within_a_layer_the_model_of_the_agent_wins_over_the_default_model(tmp_path: Path) -> None:
    environ = {"SYNTOR_INFERENCE_MODEL": "ollama/a", "SYNTOR_MODEL_DOCS": "ollama/b"}
    found = load_configuration(tmp_path, None, environ, {})
    assert found.model_for("documentation")[0] == found.model_for("docs")[0] == "ollama/b"
    assert found.model_for("git")[0] == "ollama/a"


def test_a_model_of_no_known_provider_is_named_with_its_origin(tmp_path: Path) -> None:
    found = load_configuration(tmp_path, None, {"SYNTOR_MODEL_GIT": "nowhere/x"}, {})
    with pytest.raises(ConfigurationError, match=r"inference.models.git, environment \(SYNTOR_MODEL_GIT\): .*nowhere"):
        found.model_for("git")
    assert found.model_for("worker")[1] == "default"


def test_variables_that_only_look_like_a_model_of_an_agent_are_left_alone(tmp_path: Path) -> None:
    found = load_configuration(tmp_path, None, {"SYNTOR_MODEL_MIRROR": "/srv/models", "SYNTOR_MODEL_GIT": " "}, {})
    assert found.get("inference.models.mirror") is None
    assert found.get("inference.models.git") is None


@pytest.mark.parametrize(
    ("environ", "flags", "says"),
    [
        ({"SYNTOR_OLLAMA_HOST": "box"}, {}, ["SYNTOR_OLLAMA_HOST", "'box'", "URL"]),
        ({}, {"inference.modles.git": "x"}, ["inference.modles.git", "inference.models.git"]),
        ({}, {"inference.auto_pull": "perhaps"}, ["inference.auto_pull", "perhaps", "true or false"]),
    ],
)
def test_wrong_variables_and_flags_are_named(
    tmp_path: Path, environ: dict[str, str], flags: dict[str, str], says: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(tmp_path, None, environ, flags)
    for part in says:
        assert part in str(caught.value)
