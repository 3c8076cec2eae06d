"""`syntor models` and `syntor init` show the state of models, and change only what was requested."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from syntor.cli.main import main
from syntor.configuration.document import read_document

AWAY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of its own and no provider on the network."""
    for name in list(os.environ):
        if name.startswith("SYNTOR_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SYNTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNTOR_OLLAMA_HOST", AWAY)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "-o", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def _set(home: Path) -> dict[str, object]:
    return {name: entry.value for name, entry in read_document(home / "config.yaml").items()}


def test_the_list_shows_installed_and_hosted_models(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {(row["provider"], row["model"]): row["status"] for row in _json(capsys, "models", "list")["models"]}
    assert rows["embedded", "qwen2.5-coder:1.5b"] == "not pulled"
    assert rows["ollama", "mistral:7b"] == "not pulled"
    assert {status for (provider, _), status in rows.items() if provider == "anthropic"} == {"api"}


def test_the_status_of_each_agent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SYNTOR_MODEL_GIT", "ollama/mistral:7b")
    monkeypatch.setenv("SYNTOR_MODEL_DOCS", "scripted/echo")
    monkeypatch.setenv("SYNTOR_MODEL_WORKER", "anthropic/claude-sonnet-4-5")
    agents = {row["agent"]: row["status"] for row in _json(capsys, "models", "status")["agents"]}
    assert agents == {
        "coordination": "not pulled",
        "documentation": "ready",
        "git": "offline",
        "worker": "unknown",
        "worker_code": "not pulled",
    }
    assert main(["models", "status"]) == 0
    shown = capsys.readouterr().out
    assert "syntor models pull embedded/qwen2.5-coder:1.5b" in shown
    assert AWAY in shown
    assert "ANTHROPIC_API_KEY is not set" in shown


def test_an_assignment_is_saved(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "assign", "docs", "ollama/mistral:7b"]) == 0
    assert main(["models", "assign", "WORKER_CODE", "qwen2.5-coder:0.5b"]) == 0
    assert _set(home) == {
        "inference.models.documentation": "ollama/mistral:7b",
        "inference.models.worker_code": "embedded/qwen2.5-coder:0.5b",
    }
    assert "ollama/mistral:7b is offline" in capsys.readouterr().err


def test_an_assignment_that_is_overridden_names_the_origin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNTOR_MODEL_GIT", "scripted/echo")
    assert main(["models", "assign", "git", "qwen2.5-coder:0.5b"]) == 0
    assert "SYNTOR_MODEL_GIT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["assign", "wrker", "mistral:7b"], 2, ["wrker", "worker", "worker_code", "docs"]),
        (["assign", "git", "nosuch"], 2, ["nosuch", "qwen2.5-coder:1.5b"]),
        (["assign", "git", "nowhere/x"], 2, ["nowhere", "ollama"]),
        (["assign", "git", ""], 2, ["provider/name"]),
        (["pull", "nosuch"], 2, ["nosuch", "qwen2.5-coder:1.5b"]),
        (["pull", "anthropic/claude-sonnet-4-5"], 2, ["anthropic"]),
        (["pull", "ollama/mistral:7b"], 4, [AWAY, "ollama serve"]),
    ],
)
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(
    arguments: list[str], code: int, says: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", *arguments]) == code
    error = capsys.readouterr().err
    for part in says:
        assert part in error
    assert not (home / "config.yaml").exists()


def test_init_with_yes_takes_the_defaults_and_overwrites_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--yes"]) == 0
    assert _set(home) == {"inference.provider": "embedded"}
    assert f"not reachable at {AWAY}" in capsys.readouterr().out
    (home / "config.yaml").write_text("# mine\ninference: {provider: scripted, models: {git: embedded/smollm2:135m}}\n")
    before = (home / "config.yaml").read_text()
    assert main(["init", "--yes"]) == 0
    assert (home / "config.yaml").read_text() == before
    assert "is unchanged" in capsys.readouterr().out


def test_init_without_a_terminal_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 2
    assert "syntor init --yes" in capsys.readouterr().err


def _init_on_a_terminal(*typed: str) -> str:
    """Run the wizard on a terminal with typed lines, one per prompt; return its output."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "syntor.cli.main", "init"], stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        os.write(ours, "".join(f"{line}\n" for line in typed).encode())
        shown = b""
        while True:
            try:
                read = os.read(ours, 4096)
            except OSError:  # how Linux says that the other side is closed
                break
            if not read:
                break
            shown += read
    os.close(ours)
    assert process.returncode == 0
    return shown.decode()


def test_the_wizard_saves_the_choices_and_prompts_before_it_overwrites(home: Path) -> None:
    shown = _init_on_a_terminal("nosuch", "ollama", "", "", "phi3:mini", "", "")
    assert "no provider 'nosuch'" in shown
    assert "warning: ollama cannot be used yet" in shown
    assert _set(home) == {"inference.provider": "ollama", "inference.models.git": "ollama/phi3:mini"}
    kept = (home / "config.yaml").read_text()
    shown = _init_on_a_terminal("scripted", "", "", "", "", "", "n")
    assert "inference.provider: ollama → scripted" in shown.replace("\r", "")
    assert (home / "config.yaml").read_text() == kept
    _init_on_a_terminal("scripted", "", "", "", "", "", "y")
    assert _set(home) == {"inference.provider": "scripted"}
