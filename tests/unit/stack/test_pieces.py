"""Ports, configuration of nats-server, log files and environments of the local stack."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from syntor.contracts.errors import ConfigurationError
from syntor.stack import nats_config
from syntor.stack.environment import Addresses, environment
from syntor.stack.log_file import KEPT, open_log, rotate, size_of, tail
from syntor.stack.options import Options
from syntor.stack.port import Ports
from syntor.stack.services import INGRESS, PROJECTOR, SERVICES

ADDRESSES = Addresses("nats://127.0.0.1:1", 8420, "http://127.0.0.1:2", "token")


def test_a_port_taken_meanwhile_is_replaced_by_the_next_free_one() -> None:
    ports = Ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        first = ports.take(port)
        assert first > port
        assert ports.take(port) > first
        assert ports.replace(first) > first


def test_the_memory_limit_of_the_server_grows_with_its_log(tmp_path: Path) -> None:
    assert nats_config.memory_limit(tmp_path / "none") == "512MiB"
    blocks = tmp_path / "jetstream" / "$G" / "streams" / "SYNTOR_EVENTS" / "msgs"
    blocks.mkdir(parents=True)
    with (blocks / "1.blk").open("wb") as file:
        file.truncate(300 << 20)
    assert nats_config.memory_limit(tmp_path) == "812MiB"


@pytest.mark.parametrize(("durability", "sync"), [("durable", '"always"'), ("fast", '"100ms"')])
def test_durability_is_the_sync_interval(durability: str, sync: str) -> None:
    users, store = "authorization { }", Path('/a "b"')
    text = nats_config.render(
        name="n", host="127.0.0.1", port=1, monitor_port=2, store=store, durability=durability, users=users
    )
    assert f"sync_interval: {sync}" in text
    assert 'store_dir: "/a \\"b\\""' in text
    assert 'host: "127.0.0.1"' in text
    assert text.endswith(users)


def test_an_unknown_durability_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'quick': expected durable or fast"):
        nats_config.render(name="n", host="h", port=1, monitor_port=2, store=Path("/a"), durability="quick", users="")


def test_a_log_over_its_size_is_rotated(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    for round_ in range(KEPT + 2):
        log.write_text(f"{round_}\n" * 100)
        assert rotate(log, 100)
        assert log.read_text() == ""
    assert not rotate(log, 100)
    assert not rotate(tmp_path / "none.log", 100)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["x.log", *(f"x.log.{number}" for number in range(1, KEPT + 1))]
    assert (tmp_path / "x.log.1").read_text().startswith(f"{KEPT + 1}\n")


def test_a_service_continues_writing_after_its_log_was_truncated(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with open(open_log(log), "wb", buffering=0) as file:
        file.write(b"a" * 200)
        rotate(log, 100)
        file.write(b"b\n")
    assert log.read_bytes() == b"b\n"


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {number}\n" for number in range(5000)))
    assert tail(log, 2) == ["line 4998", "line 4999"]
    assert len(tail(log, 3000)) == 3000
    assert tail(log, 0) == []
    size = size_of(log)
    log.write_text(log.read_text() + "new\nnewer\n")
    assert tail(log, 5, after=size) == ["new", "newer"]
    assert tail(log, 1, after=size) == ["newer"]
    log.write_text("cut\n")
    assert tail(log, 5, after=size) == ["cut"]
    assert tail(tmp_path / "none.log", 2) == []


def test_only_agents_get_provider_keys_and_few_services_the_control_endpoint() -> None:
    inherited = {
        "PATH": "/bin",
        "OPENAI_API_KEY": "secret",
        "SYNTOR_URL": "http://elsewhere",
        "SYNTOR_SCRIPT": "/s.yaml",
        "SYNTOR_HEALTH_PORT": "1",
    }
    options = Options(home="/home/x/.syntor", overrides={"SYNTOR_INFERENCE_MODEL": "a/b"})
    found = {spec.name: environment(spec, options, ADDRESSES, 9000, inherited) for spec in SERVICES}
    for name, environ in found.items():
        is_agent = name.startswith("agent-")
        assert ("OPENAI_API_KEY" in environ) == is_agent
        assert ("SYNTOR_STACK_TOKEN" in environ) == (is_agent or name == "registry")
        assert "SYNTOR_URL" not in environ
        assert environ["SYNTOR_HOME"] == "/home/x/.syntor"
        assert environ["SYNTOR_NATS_URL"] == "nats://127.0.0.1:1"
        assert environ["SYNTOR_HEALTH_PORT"] == "9000"
        assert environ["SYNTOR_DURABILITY"] == "durable"
        assert environ["SYNTOR_SCRIPT"] == "/s.yaml"
        assert environ["SYNTOR_INFERENCE_MODEL"] == "a/b"
    assert found["agent-git"]["SYNTOR_STACK_URL"] == "http://127.0.0.1:2"
    assert found["agent-git"]["SYNTOR_AGENT_TIMEOUT_S"] == "300"
    assert found["ingress"]["SYNTOR_HTTP_PORT"] == "8420"
    assert found["projector"]["SYNTOR_DATABASE_URL"] == "sqlite:////home/x/.syntor/data/readmodel.db"


def test_an_external_database_is_used() -> None:
    options = Options(home="/h", database_url="postgresql://db/x")
    assert environment(PROJECTOR, options, ADDRESSES, 1, {})["SYNTOR_DATABASE_URL"] == "postgresql://db/x"
    assert "SYNTOR_DATABASE_URL" not in environment(INGRESS, options, ADDRESSES, 1, {})
