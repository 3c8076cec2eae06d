"""A reserved port is no one else's until its holder lets it go or ends."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from syntor.contracts.errors import NotReachableError
from syntor.runtime.ports import is_free, reserve, reserve_any

CHOOSE = """
import sys
from syntor.runtime.ports import reserve
held = [reserve(int(sys.argv[1])) for _ in range(20)]
print(*[reservation.port for reservation in held], flush=True)
sys.stdin.read()
"""


def test_a_reserved_port_is_passed_over_although_nothing_listens_there() -> None:
    first = reserve_any()
    assert is_free(first.port)
    second = reserve(first.port)
    assert second.port > first.port
    port = first.port
    first.close()
    first.close()
    assert reserve(port).port == port


def test_processes_that_choose_at_the_same_moment_choose_different_ports() -> None:
    start = str(reserve_any().port)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHOOSE, start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    chosen: list[str] = []
    for process in children:
        assert process.stdout is not None
        chosen += process.stdout.readline().split()
    for process in children:
        process.communicate(timeout=30)
    assert len(chosen) == 60
    assert len(set(chosen)) == 60


def test_a_listening_port_is_passed_over_also_on_ipv6() -> None:
    with socket.socket(socket.AF_INET6) as taken:
        try:
            taken.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback address")
        taken.listen()
        port = taken.getsockname()[1]
        assert not is_free(port, "::1")
        assert reserve(port, "::1").port > port


def test_no_free_port_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 65535))
        taken.listen()
        with pytest.raises(NotReachableError, match=r"no free port on 127\.0\.0\.1 from 65535 to 65535"):
            reserve(65535)
