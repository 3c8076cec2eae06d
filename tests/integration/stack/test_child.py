"""A process that keeps exiting is restarted with growing delays, and its last lines are in its log."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from syntor.stack.child import FIRST_DELAY_S, Child
from syntor.stack.spawn import Launch, describe_exit
from syntor.testing.nats_server import free_port


async def test_restart_delays_grow(tmp_path: Path) -> None:
    deaths: list[float] = []
    codes: list[int] = []
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    def died(_: Child, code: int) -> None:
        deaths.append(loop.time())
        codes.append(code)
        if len(deaths) == 4:
            enough.set()

    launch = Launch([sys.executable, "-c", "print('last words'); raise SystemExit(9)"], dict(os.environ), tmp_path)
    child = Child("dying", lambda: launch, tmp_path / "dying.log", changed=lambda: None, on_exit=died)
    supervising = asyncio.create_task(child.supervise())
    await asyncio.wait_for(enough.wait(), 20)
    assert child.state.state == "restarting"
    assert child.state.detail == "exit code 9"
    await child.stop(1)
    await asyncio.wait_for(supervising, 5)
    pauses = [later - earlier for earlier, later in itertools.pairwise(deaths)]
    for number, pause in enumerate(pauses):
        assert pause >= FIRST_DELAY_S * 2**number
    assert codes == [9] * 4
    assert child.state.state == "stopped"
    assert (tmp_path / "dying.log").read_text().splitlines() == ["last words"] * 4


async def test_a_missing_program_is_reported_in_the_log(tmp_path: Path) -> None:
    dead = asyncio.Event()
    launch = Launch(["/no/such/program"], {}, tmp_path)
    child = Child("x", lambda: launch, tmp_path / "x.log", changed=lambda: None, on_exit=lambda *_: dead.set())
    supervising = asyncio.create_task(child.supervise())
    await asyncio.wait_for(dead.wait(), 5)
    await child.stop(1)
    await asyncio.wait_for(supervising, 5)
    assert "/no/such/program" in (tmp_path / "x.log").read_text()


def test_exit_codes_as_text() -> None:
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-9) == "killed by SIGKILL"
    assert describe_exit(-200) == "killed by signal 200"


SERVICE = """
import os, socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listening.accept()
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nX-Syntor-Pid: " + str(os.getpid()).encode() + b"\\r\\n\\r\\nok")
    connection.close()
"""


def _child(launch: Launch, folder: Path) -> Child:
    return Child("x", lambda: launch, folder / "x.log", changed=lambda: None, on_exit=lambda *_: None)


async def test_another_program_on_its_port_does_not_make_it_ready(tmp_path: Path) -> None:
    requests = asyncio.Semaphore(0)

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nX-Syntor-Pid: 1\r\n\r\nok")
        writer.close()
        requests.release()

    other = await asyncio.start_server(respond, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    waits = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    for name in ("", "our-nats"):
        launch = Launch(waits, dict(os.environ), tmp_path, port, server_name=name)
        child = _child(launch, tmp_path)
        supervising = asyncio.create_task(child.supervise())
        for _ in range(6):
            await asyncio.wait_for(requests.acquire(), 5)
        assert not child.ready.is_set()
        assert child.state.detail == f"another program responds on its port {port}"
        await child.stop(1)
        await asyncio.wait_for(supervising, 5)
    other.close()


async def test_its_own_response_makes_it_ready(tmp_path: Path) -> None:
    port = free_port()
    launch = Launch([sys.executable, "-c", SERVICE, str(port)], dict(os.environ), tmp_path, port)
    child = _child(launch, tmp_path)
    supervising = asyncio.create_task(child.supervise())
    await asyncio.wait_for(child.ready.wait(), 10)
    await child.probe()
    assert child.state.state == "ready"
    await child.stop(1)
    await asyncio.wait_for(supervising, 5)
