"""Images of the servers that docker-compose.yml deploys; tests are skipped where Docker is not usable."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
DOCKER_TIMEOUT_S = 20


@functools.cache
def docker_problem() -> str:
    """Return why containers cannot be started here; empty when they can."""
    if shutil.which("docker") is None:
        return "there is no docker client on PATH"
    try:
        done = subprocess.run(
            ["docker", "version"], capture_output=True, text=True, timeout=DOCKER_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"the docker daemon does not respond within {DOCKER_TIMEOUT_S} s"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["docker version fails"])[-1]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print once why the tests of this folder were skipped."""
    if docker_problem.cache_info().currsize and docker_problem():
        terminalreporter.write_line(f"tests/containers: skipped, no Docker: {docker_problem()}")


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """The image of each service in docker-compose.yml; skips where there is no Docker."""
    if problem := docker_problem():
        pytest.skip(f"no Docker: {problem}")
    services = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return {name: service["image"] for name, service in services.items() if "image" in service}
