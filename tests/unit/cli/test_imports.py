"""`syntor --help` and `--version` load no heavy library; services without hand-written files load no pydantic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from syntor.contracts.topology import BUILT_IN_AGENTS

HEAVY = ("pydantic", "starlette", "typer", "rich", "httpx2")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_no_heavy_library(option: str) -> None:
    shown = _run(f"from syntor.cli.main import main; main(['{option}'])")
    assert [name for name in HEAVY if name in shown] == []


@pytest.mark.parametrize(
    "service",
    [
        *("ingress", "orchestrator", "registry", "projector"),
        *(f"agents.{name}" for name in (*BUILT_IN_AGENTS, "user_defined", "external_gateway")),
    ],
)
def test_a_service_without_hand_written_files_loads_no_pydantic(service: str) -> None:
    assert _pydantic(f"import syntor.{service}.__main__") == []


@pytest.mark.parametrize("agent", BUILT_IN_AGENTS)
def test_a_built_in_agent_in_an_empty_home_loads_no_pydantic(agent: str, tmp_path: Path) -> None:
    assert _pydantic(_START.format(agent=agent, home=str(tmp_path))) == []


def test_an_interactive_session_without_custom_commands_loads_no_pydantic(tmp_path: Path) -> None:
    code = "import pathlib, syntor.cli.interactive.start; from syntor.cli.interactive.custom import load_commands"
    assert _pydantic(f"{code}; load_commands(pathlib.Path({str(tmp_path)!r}), None)") == []


@pytest.mark.parametrize(
    ("name", "content"), [("config.yaml", "sandbox: {network: true}\n"), ("mcp.json", '{"mcpServers": {}}')]
)
def test_a_hand_written_file_is_validated_with_pydantic(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert _pydantic(_START.format(agent="worker", home=str(tmp_path))) != []


_START = """
import asyncio, pathlib
import syntor.agents.{agent}.__main__ as service
from syntor.agentkit.chat_agent import chat_agent
from syntor.agentkit.manifest import read_built_in_manifest
from syntor.agentkit.model_resolver import ModelResolver
from syntor.agentkit.tools.catalog import all_tools
from syntor.agentkit.tools.mcp_tools import McpTools
home = pathlib.Path({home!r})
manifest = read_built_in_manifest(pathlib.Path(service.__file__).with_name("manifest.yaml"))
environ = {{"SYNTOR_INFERENCE_PROVIDER": "scripted", "SYNTOR_MODE": "auto", "SYNTOR_OLLAMA_HOST": "http://box:1"}}
chat_agent(manifest), all_tools()
ModelResolver(manifest.id, manifest.model, manifest.fallbacks, home, environ).resolve("").model
ModelResolver(manifest.id, manifest.model, manifest.fallbacks, home, environ).configuration().permissions
asyncio.run(McpTools(home, environ).tools(["mcp"]))
"""
"""What an agent does at its start and for its first task, without a server."""


def _pydantic(code: str) -> list[str]:
    return [name for name in _run(code) if name in ("pydantic", "pydantic_core")]


def _run(code: str) -> list[str]:
    """Return the modules that are loaded after some code ran."""
    argv = [sys.executable, "-c", f"import sys\n{code}\nprint(); print(*sys.modules)"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    return shown.splitlines()[-1].split()
