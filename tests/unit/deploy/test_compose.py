"""The container files describe what is there: every service, its module, its image, its settings."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import yaml

from syntor.runtime.nats_binary import find_nats_server
from syntor.stack import nats_users
from syntor.stack.services import SERVICES

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
KNOWN_VARIABLES = {
    "SYNTOR_ENVIRONMENT", "SYNTOR_NATS_URL", "SYNTOR_NATS_KEYS", "SYNTOR_INFERENCE_PROVIDER", "SYNTOR_OLLAMA_HOST",
    "SYNTOR_HTTP_HOST",
    "SYNTOR_HTTP_PORT", "SYNTOR_HEALTH_HOST", "SYNTOR_DATABASE_URL",
}  # fmt: skip


def test_every_service_of_the_local_stack_has_a_container() -> None:
    names = set(COMPOSE["services"])
    for service in SERVICES:
        assert service.name.replace("_", "-") in names
    assert {"nats", "postgres"} <= names


def test_every_container_runs_a_module_that_exists_from_an_extra_that_exists() -> None:
    for name, service in COMPOSE["services"].items():
        if "build" not in service:
            continue
        extra = service["build"]["args"]["SERVICE"]
        assert extra in EXTRAS, name
        module = service["command"][2] if "command" in service else f"syntor.{extra}"
        assert importlib.util.find_spec(module) is not None, module
        assert service["build"]["dockerfile"] == "deploy/Dockerfile"


def test_containers_are_read_only_and_get_settings_that_exist() -> None:
    for name, service in COMPOSE["services"].items():
        if name in ("nats", "postgres", "apply", "keys"):
            continue
        assert service["read_only"] is True, name
        assert {key for key in service["environment"] if key.startswith("SYNTOR_")} <= KNOWN_VARIABLES, name
        assert "keys:/keys:ro" in service["volumes"], name


def test_volumes_and_files_that_are_mounted_exist() -> None:
    for mount in COMPOSE["services"]["nats"]["volumes"]:
        source = mount.split(":")[0]
        assert source in COMPOSE["volumes"] or (ROOT / source).is_file()


def test_the_server_takes_the_configuration_with_the_keys_made_for_it(tmp_path: Path) -> None:
    assert nats_users.main(["--config", str(tmp_path / "keys")]) == 0
    for name in ("durable.conf", "cluster.conf"):
        shutil.copy(ROOT / "deploy" / "nats" / name, tmp_path)
        checked = subprocess.run(
            [str(find_nats_server()), "-t", "-c", str(tmp_path / name)],
            env={"NODE": "n1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr
    agents = {service.name for service in SERVICES if service.is_agent}
    assert agents <= {path.stem for path in (tmp_path / "keys").glob("*.nk")}


def test_the_image_copies_what_the_package_is_built_from() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    for folder in ("contracts", "libs", "services", "tools"):
        assert re.search(rf"^COPY {folder} {folder}$", text, re.MULTILINE)
    assert "USER 10001" in text
