"""A process that keeps exiting is restarted with growing delays, and its last lines are in its log."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from syntor.stack.child import FIRST_DELAY_S, Child
from syntor.stack.spawn import Launch, describe_exit


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
