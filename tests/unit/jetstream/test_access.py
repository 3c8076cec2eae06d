"""Which servers of a list other machines reach, as far as their names tell."""

from __future__ import annotations

import pytest

from syntor.jetstream.access import public_hosts


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("nats://127.0.0.1:4222,nats://localhost:1,nats://[::1]:2", []),
        ("nats://127.0.0.1:4222, tls://nats.example:4222", ["nats.example"]),
        ("nats://10.0.0.7", ["10.0.0.7"]),
        ("nats://0.0.0.0:4222", ["0.0.0.0"]),
        ("nats://[2001:db8::1]:4222", ["2001:db8::1"]),
    ],
)
def test_hosts_beyond_this_machine(url: str, hosts: list[str]) -> None:
    assert public_hosts(url) == hosts
