"""A real supervisor with a real nats-server restarts what exits, stops everything, and leaves no orphans."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syntor.stack.identity import is_alive, wait_gone
from syntor.stack.running import call_stack, running_stack, stop_stack
from syntor.stack.state import ServiceState, StackState

Of = Callable[[StackState, str], ServiceState]


def test_everything_becomes_ready_and_stops_in_order(supervised: Any, of: Of) -> None:
    process = supervised.start()
    state = supervised.ready()
    assert [service.name for service in supervised.status().services] == ["nats", "alpha", "beta"]
    assert {service.state for service in supervised.status().services} == {"ready"}
    assert stop_stack(supervised.home)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    for said in (state.url, state.nats_url, state.data, "durability", "fast"):
        assert said.lower() in out.lower()
    for service in state.services:
        assert not is_alive(service.pid, service.mark)
    assert running_stack(supervised.home) is None
    assert "Server Exiting" in supervised.layout.log_of("nats").read_text()
    assert not stop_stack(supervised.home)


@pytest.mark.parametrize("name", ["alpha", "nats"])
def test_a_killed_process_is_restarted_at_its_address(supervised: Any, of: Of, name: str) -> None:
    supervised.start()
    before = supervised.ready()
    os.kill(of(before, name).pid, signal.SIGKILL)
    after = supervised.wait(lambda state: of(state, name).restarts == 1 and of(state, name).state == "ready")
    assert of(after, name).pid not in (0, of(before, name).pid)
    assert of(after, name).health_url == of(before, name).health_url
    assert of(after, "beta").pid == of(before, "beta").pid
    assert after.nats_url == before.nats_url
    host, port = after.nats_url.removeprefix("nats://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as client:
        assert client.recv(4) == b"INFO"


def test_a_service_can_be_restarted_on_request(supervised: Any, of: Of) -> None:
    supervised.start()
    before = supervised.ready()
    call_stack(before, "POST", "/restart/beta", timeout_s=40)
    after = supervised.wait(lambda state: of(state, "beta").restarts == 1 and of(state, "beta").state == "ready")
    assert of(after, "beta").pid != of(before, "beta").pid


def test_an_on_demand_service_runs_once_it_is_requested(supervised: Any, of: Of) -> None:
    supervised.start()
    state = supervised.ready()
    for _ in range(2):
        call_stack(state, "POST", "/start/gamma")
    supervised.wait(lambda state: any(s.name == "gamma" and s.state == "ready" for s in state.services))
    assert [service.name for service in supervised.status().services] == ["nats", "alpha", "beta", "gamma"]


def test_nothing_outlives_a_killed_supervisor_and_the_next_one_starts(supervised: Any, of: Of) -> None:
    first = supervised.start()
    before = supervised.ready()
    first.kill()
    for service in before.services:
        assert wait_gone(service.pid, service.mark, 10)
    assert running_stack(supervised.home) is None
    supervised.start()
    after = supervised.ready()
    assert any("did not stop properly" in notice for notice in after.notices)
    assert after.nats_url == before.nats_url


def test_services_are_supervised_even_when_the_state_cannot_be_written(supervised: Any, of: Of) -> None:
    process = supervised.start()
    before = supervised.ready()
    shutil.rmtree(supervised.layout.run)
    os.kill(of(before, "alpha").pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while True:
        now = msgspec.convert(call_stack(before, "GET", "/status"), StackState)
        if of(now, "alpha").restarts == 1 and of(now, "alpha").state == "ready":
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)  # polls another process
    supervised.layout.run.mkdir()
    supervised.wait(lambda state: of(state, "alpha").restarts == 1)  # written again without another change
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert err.count("cannot be written") == 1


def test_a_second_supervisor_of_the_same_home_exits(supervised: Any, of: Of) -> None:
    supervised.start()
    first = supervised.ready()
    second = supervised.start()
    _, err = second.communicate(timeout=30)
    assert second.returncode == 2
    assert str(supervised.home) in err
    assert "syntor status" in err
    assert {service.state for service in supervised.status().services} == {"ready"}
    assert supervised.status().pid == first.pid


def test_two_homes_run_in_parallel(supervised: Any, tmp_path: Path) -> None:
    supervised.start()
    first = supervised.ready()
    other = type(supervised)(tmp_path / "other")
    try:
        other.start()
        second = other.ready()
        assert second.nats_url != first.nats_url
        assert any("NATS port" in notice for notice in second.notices)
    finally:
        other.end()


def test_stacks_that_start_at_the_same_moment_all_come_up(supervised: Any, tmp_path: Path) -> None:
    all_of_them = [supervised, *(type(supervised)(tmp_path / f"other-{number}") for number in range(3))]
    try:
        for one in all_of_them:
            one.start()
        states = [one.ready() for one in all_of_them]
        addresses = [state.url for state in states] + [state.nats_url for state in states]
        addresses += [service.health_url for state in states for service in state.services]
        assert len(set(addresses)) == len(addresses)
        assert {service.restarts for state in states for service in state.services} == {0}
    finally:
        for other in all_of_them[1:]:
            other.end()


def test_nothing_in_the_home_can_be_read_by_other_accounts(supervised: Any, of: Of) -> None:
    supervised.layout.create()
    supervised.layout.home.chmod(0o755)
    (supervised.layout.nats_store / "old.blk").write_text("an event")
    before = os.umask(0)
    try:
        supervised.start()
    finally:
        os.umask(before)
    state = supervised.ready()
    assert any("other accounts could read" in notice for notice in state.notices)
    written = [supervised.home, *supervised.home.rglob("*")]
    assert supervised.layout.nats_store / "jetstream" in written
    assert [path for path in written if path.lstat().st_mode & 0o077 and not path.is_symlink()] == []


def test_a_service_that_cannot_be_configured_ends_the_start_with_its_reason(supervised: Any) -> None:
    process = supervised.start(STAND_IN="unconfigured")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "SYNTOR_THING='x': expected a number" in err
    assert running_stack(supervised.home) is None


def test_a_second_stop_request_kills_unresponsive_processes(supervised: Any) -> None:
    process = supervised.start(STAND_IN="stubborn")
    state = supervised.ready()
    process.send_signal(signal.SIGINT)
    supervised.wait(lambda state: state.phase == "stopping")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 0
    for service in state.services:
        assert not is_alive(service.pid, service.mark)


def test_a_home_that_cannot_be_written_is_an_error(tmp_path: Path, supervised: Any) -> None:
    supervised.home.parent.mkdir(exist_ok=True)
    supervised.home.write_text("a file, not a folder")
    process = supervised.start()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert str(supervised.home) in err
    assert "SYNTOR_HOME" in err


def test_damaged_files_that_the_stack_makes_anew_do_not_keep_it_from_starting(supervised: Any, of: Of) -> None:
    layout = supervised.layout
    folders = [layout.state, layout.lock, layout.nats_config, layout.topology, layout.seal, layout.log_of("alpha")]
    for path in folders:
        path.mkdir(parents=True)
        (path / "kept").touch()
    supervised.start()
    state = supervised.ready()
    for path in folders:
        assert any(str(path) in notice for notice in state.notices)
    assert len(layout.set_aside()) == len(folders)
    assert all((path / "kept").exists() for path in layout.set_aside())
    assert stop_stack(supervised.home)
    for path in (layout.state, layout.topology, layout.seal):
        path.write_bytes(b"\xff noise \x80")
    supervised.start()
    supervised.ready()
    assert {service.state for service in supervised.status().services} == {"ready"}


def test_a_service_whose_health_port_was_taken_meanwhile_takes_another(supervised: Any, of: Of) -> None:
    supervised.start()
    before = of(supervised.ready(), "alpha")
    port = int(before.health_url.rpartition(":")[2].partition("/")[0])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(before.pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while True:
            try:
                other.bind(("127.0.0.1", port))
                break
            except OSError:
                assert time.monotonic() < deadline
        other.listen()
        after = of(supervised.wait(lambda s: of(s, "alpha").restarts > 0 and of(s, "alpha").state == "ready"), "alpha")
        assert after.health_url not in ("", before.health_url)
        assert of(supervised.status(), "alpha").state == "ready"
