"""`syntor --help` and `--version` load no heavy library; services without hand-written files load no pydantic."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("pydantic", "starlette", "typer", "rich", "httpx2")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_no_heavy_library(option: str) -> None:
    shown = _run(f"from syntor.cli.main import main; main(['{option}'])")
    assert [name for name in HEAVY if name in shown] == []


@pytest.mark.parametrize("service", ["ingress", "orchestrator", "registry", "projector"])
def test_a_service_without_hand_written_files_loads_no_pydantic(service: str) -> None:
    assert "pydantic" not in _run(f"import syntor.{service}.__main__")


def _run(code: str) -> list[str]:
    """Return the modules that are loaded after some code ran."""
    argv = [sys.executable, "-c", f"import sys; {code}; print(); print(*sys.modules)"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    return shown.splitlines()[-1].split()
