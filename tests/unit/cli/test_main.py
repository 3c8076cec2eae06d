"""The entry point of the command line loads only the module of the called command."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from syntor.cli.app import COMMANDS, overview
from syntor.cli.main import main
from syntor.cli.version import VERSION

FORBIDDEN = {
    *("typer", "rich", "pydantic", "starlette", "nats", "litellm", "httpx", "httpx2", "prompt_toolkit", "aiosqlite"),
    *("asyncpg", "yaml"),
}


def _loaded(arguments: list[str], environ: dict[str, str]) -> tuple[set[str], str]:
    """Run the command in a fresh process; return modules it loaded, and output."""
    code = (
        "import sys\nfrom syntor.cli.main import main\ncode = main(sys.argv[1:])\n"
        "sys.stderr.write(f'{code} {\" \".join(sys.modules)}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environ},
    )
    exit_code, *modules = done.stderr.rpartition("\n")[2].split(" ")
    assert exit_code == "0", done.stderr
    return {module.partition(".")[0] for module in modules}, done.stdout


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [(["--version"], {}), ([""], {"_SYNTOR_COMPLETE": "1"}), (["--help"], {})],
)
def test_help_version_and_completion_load_nothing_heavy(arguments: list[str], environ: dict[str, str]) -> None:
    loaded, output = _loaded(arguments, environ)
    assert loaded & FORBIDDEN == set()
    assert output


@pytest.mark.parametrize("words", [["status", "--"], ["up", "--d"], ["logs", ""]])
def test_completion_after_a_command_loads_no_other_heavy_library(words: list[str]) -> None:
    loaded, output = _loaded(words, {"_SYNTOR_COMPLETE": "1"})
    assert loaded & (FORBIDDEN - {"typer"}) == set()
    assert output


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"syntor {VERSION}\n"
    assert version("syntor") == VERSION


def test_every_command_has_a_module_that_registers_it() -> None:
    for name, command in COMMANDS.items():
        spec = find_spec(command.module)
        assert spec is not None, f"{name}: no module {command.module}"
        assert spec.origin is not None
        tree = ast.parse(Path(spec.origin).read_text())
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        assert "register" in functions, command.module


def test_the_overview_lists_every_command_that_is_not_internal() -> None:
    text = overview()
    for name, command in COMMANDS.items():
        assert (f"\n  {name} " in text) == bool(command.help)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nosuchcommand"], ['unknown command "nosuchcommand"', "syntor chat"]),
        (["sttaus"], ["did you mean `syntor status`"]),
        (["STATUS"], ["did you mean `syntor status`"]),
        (["--nosuch"], ["no such option: --nosuch"]),
        (["-x"], ["no such option: -x"]),
        (["status", "--nosuch"], ["--nosuch"]),
        (["logs", "-n", "-1"], ["-1"]),
        (["status", "-o", "xml"], ["xml", "json"]),
    ],
)
def test_wrong_usage_is_exit_2_and_names_the_problem(
    arguments: list[str], says: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    for part in says:
        assert part in shown.err


@pytest.mark.parametrize("arguments", [["help", "status"], ["status", "--help"], ["status", "-h"]])
def test_help_of_one_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert "Show each service" in capsys.readouterr().out


def test_nothing_running_is_exit_4_and_names_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNTOR_HOME", str(tmp_path / "home"))
    assert main(["status"]) == 4
    assert "syntor up" in capsys.readouterr().err
    assert main(["down"]) == 0
    assert not (tmp_path / "home").exists()


def test_a_closed_output_pipe_is_no_failure() -> None:
    done = subprocess.run(
        f"{sys.executable} -m syntor.cli.main --help | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
