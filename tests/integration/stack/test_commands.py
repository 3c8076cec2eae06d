"""`syntor up`, `down`, `status`, `logs` and `admin apply` as a user runs them, with one real service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from syntor.contracts.errors import ConfigurationError
from syntor.stack.identity import is_alive, wait_gone
from syntor.stack.running import ensure_running, running_stack
from syntor.testing.local_stack import LocalStack
from syntor.testing.nats_server import NatsServer

SERVICES = ("--services", "registry", "--durability", "fast")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[LocalStack]:
    """A home folder in which nothing runs yet."""
    found = LocalStack(tmp_path / "home")
    yield found
    found.down()


def test_status_has_exactly_the_documented_fields(stack: LocalStack) -> None:
    stack.up(*SERVICES)
    status = json.loads(stack.syntor("status", "-o", "json").stdout)
    assert set(status) == {"url", "nats_url", "data", "services"}
    assert status["data"] == str(stack.home / "data")
    assert [service["name"] for service in status["services"]] == ["nats", "registry"]
    for service in status["services"]:
        assert set(service) == {"name", "pid", "state", "health_url", "restarts"}
        assert (service["state"], service["restarts"]) == ("ready", 0)
    table = stack.syntor("status").stdout
    assert "registry" in table
    assert "RESTARTS" in table


def test_a_second_up_prints_the_address_of_the_first(stack: LocalStack) -> None:
    stack.up(*SERVICES)
    for arguments, code in (
        (["--detach"], 0),
        (["--detach", "--durability", "fast"], 0),
        ([], 2),
        (["--detach", "--durability", "durable"], 2),
    ):
        done = stack.syntor("up", *arguments)
        assert done.returncode == code
        assert "already" in done.stdout + done.stderr
        assert stack.url in done.stdout + done.stderr


def test_concurrent_starts_start_one_stack(stack: LocalStack) -> None:
    with ThreadPoolExecutor(4) as pool:
        started = [pool.submit(stack.syntor, "up", "--detach", *SERVICES) for _ in range(4)]
        assert [done.result().returncode for done in started] == [0] * 4
    state = running_stack(stack.home)
    assert state is not None
    assert (stack.home / "logs" / "nats.log").read_text().count("Server is ready") == 1


def test_after_a_killed_supervisor_the_next_up_starts_a_new_one(stack: LocalStack) -> None:
    stack.up(*SERVICES)
    state = running_stack(stack.home)
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    for service in state.services:
        assert wait_gone(service.pid, service.mark, 10)
    assert stack.syntor("status").returncode == 4
    stack.up(*SERVICES)
    assert {service["state"] for service in stack.status()["services"]} == {"ready"}


def test_the_foreground_prints_all_addresses_and_runs_until_interrupted(stack: LocalStack) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "syntor.cli.main", "up", *SERVICES],
        env=stack.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 30
        while (state := running_stack(stack.home)) is None or state.phase != "ready":
            assert time.monotonic() < deadline
            time.sleep(0.02)  # polls another process
        assert state.pid == process.pid
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=40)
    assert (process.returncode, err) == (0, "")
    for said in (state.url, state.nats_url, str(stack.home / "data"), "fast", "scripted/echo", "Ctrl-C"):
        assert said in out
    assert not any(is_alive(service.pid, service.mark) for service in state.services)


def test_logs_of_one_service_and_of_all(stack: LocalStack) -> None:
    assert stack.syntor("logs").stdout == ""
    stack.up(*SERVICES)
    lines = stack.syntor("logs", "registry", "-n", "1").stdout.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["service"] == "registry"
    everything = stack.syntor("logs").stdout
    assert "registry | {" in everything
    assert "nats     | [" in everything
    wrong = stack.syntor("logs", "nosuchservice")
    assert wrong.returncode == 2
    assert "registry" in wrong.stderr


def test_followed_logs_show_appended_lines(stack: LocalStack) -> None:
    (stack.home / "logs").mkdir()
    log = stack.home / "logs" / "registry.log"
    log.write_text("first\n")
    with subprocess.Popen(
        [sys.executable, "-m", "syntor.cli.main", "logs", "registry", "--follow"],
        env=stack.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "first\n"
        with log.open("a") as file:
            file.write("second\nhalf")
        assert process.stdout.readline() == "second\n"
        with log.open("a") as file:
            file.write(" a line\n")
        assert process.stdout.readline() == "half a line\n"
        log.write_text("cut\n")
        assert process.stdout.readline() == "cut\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_the_topology_can_be_applied_again(stack: LocalStack) -> None:
    stack.up(*SERVICES)
    again = stack.syntor("admin", "apply")
    assert (again.returncode, again.stdout) == (0, "nothing to change\n")
    away = stack.syntor("admin", "apply", "--nats-url", "nats://127.0.0.1:9")
    assert away.returncode == 4
    assert "127.0.0.1:9" in away.stderr


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        (["--durability", "quick"], {}, ["quick", "durable", "fast"]),
        (["--services", "registry,nosuch"], {}, ["nosuch", "ingress"]),
        ([], {"SYNTOR_HTTP_PORT": "many"}, ["SYNTOR_HTTP_PORT", "many"]),
        ([], {"SYNTOR_HTTP_PORT": "99999"}, ["SYNTOR_HTTP_PORT", "99999", "65535"]),
        ([], {"SYNTOR_NATS_URL": "localhost"}, ["SYNTOR_NATS_URL", "localhost", "nats://"]),
        ([], {"SYNTOR_INFERENCE_PROVIDER": "nowhere"}, ["SYNTOR_INFERENCE_PROVIDER", "nowhere", "ollama"]),
        (["--model", "nowhere/x"], {}, ["nowhere", "SYNTOR_INFERENCE_MODEL"]),
        (["--services", "registry"], {"SYNTOR_LOG_LEVEL": "loud"}, ["SYNTOR_LOG_LEVEL", "loud"]),
    ],
)
def test_an_invalid_setting_is_exit_3_and_leaves_nothing_running(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], says: list[str]
) -> None:
    stack = LocalStack(tmp_path / "home", environ=environ)
    done = stack.syntor("up", "--detach", *arguments)
    assert done.returncode == 3, done.stderr
    for part in says:
        assert part in done.stderr
    assert running_stack(stack.home) is None


def test_a_taken_port_is_replaced_with_a_notice(stack: LocalStack, tmp_path: Path) -> None:
    stack.up(*SERVICES)
    port = stack.nats_url.rpartition(":")[2]
    other = LocalStack(tmp_path / "other", environ={"SYNTOR_NATS_PORT": port})
    done = other.syntor("up", "--detach", *SERVICES)
    try:
        assert f"NATS port {port} is in use, took" in done.stdout
        assert other.status()["nats_url"] != stack.nats_url
    finally:
        other.down()


def test_an_external_nats_is_used(stack: LocalStack, tmp_path: Path) -> None:
    stack.up(*SERVICES)
    other = LocalStack(
        tmp_path / "other",
        environ={"SYNTOR_NATS_URL": stack.nats_url, "SYNTOR_NATS_KEYS": str(stack.home / "nats-keys")},
    )
    other.up("--services", "registry")
    try:
        assert [service["name"] for service in other.status()["services"]] == ["registry"]
        assert other.nats_url == stack.nats_url
    finally:
        other.down()
    assert stack.service("nats")["state"] == "ready"


def test_an_external_address_is_used_unchanged(tmp_path: Path) -> None:
    assert ensure_running(tmp_path, {"SYNTOR_URL": "https://syntor.example/"}) == "https://syntor.example"
    with pytest.raises(ConfigurationError, match=r"SYNTOR_URL='syntor\.example'"):
        ensure_running(tmp_path, {"SYNTOR_URL": "syntor.example"})
    assert not any(tmp_path.iterdir())


def test_a_running_stack_is_found_again(stack: LocalStack, capfd: pytest.CaptureFixture[str]) -> None:
    stack.up(*SERVICES)
    assert ensure_running(stack.home, stack.environ) == stack.url
    assert capfd.readouterr().err == ""


def test_users_for_an_external_server_are_created_once_and_work_there(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    local = LocalStack(tmp_path / "home", environ={"SYNTOR_NATS_URL": "nats://127.0.0.1:1"})
    first = local.syntor("admin", "apply", "--users", str(keys), "--agent", "github")
    assert first.returncode == 0, first.stderr
    assert f"next: include {keys}/users.conf in its configuration, start it, and repeat this command" in first.stdout
    assert f"user agent-github created in {keys}" in first.stdout
    assert "users.conf written" in first.stdout
    unreachable = local.syntor("admin", "apply", "--users", str(keys), "--agent", "github")
    assert unreachable.returncode == 4
    wrong = local.syntor("admin", "apply", "--users", str(keys), "--agent", "git.hub")
    assert wrong.returncode == 2
    assert "'git.hub'" in wrong.stderr
    with NatsServer(tmp_path / "nats", extra=(keys / "users.conf").read_text()) as server:
        applied = local.syntor("admin", "apply", "--users", str(keys), "--agent", "github", "--nats-url", server.url)
        assert applied.returncode == 0, applied.stderr
        assert "stream SYNTOR_EVENTS created" in applied.stdout
        assert "created in" not in applied.stdout
        local.environ |= {"SYNTOR_NATS_URL": server.url}
        refused = local.syntor("admin", "apply")
        assert refused.returncode == 4
        assert "uthorization" in refused.stderr
        local.environ |= {"SYNTOR_NATS_KEYS": str(keys)}
        assert local.syntor("admin", "apply").stdout == "nothing to change\n"
        replicas = local.syntor("admin", "apply", "--replicas", "2")
        assert replicas.returncode == 3
        assert "SYNTOR_NATS_REPLICAS='2'" in replicas.stderr
