"""One rule for every address that is called: on what it resolves to, whatever wraps it."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import pytest

from syntor.contracts.errors import NotReachableError
from syntor.runtime.outgoing import (
    AddressRules,
    RefusedAddressError,
    checked_addresses,
    kind_of,
    literal_address,
    names_loopback,
    stack_ports,
)

LOOPBACK = ("127.0.0.1", "127.1.2.3", "::1", "0.0.0.0", "0.1.2.3", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0")
FORBIDDEN = (
    "169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1",
    "::169.254.169.254", "::ffff:0:a9fe:a9fe", "fe80::1", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200",
    "168.63.129.16", "192.0.0.192", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1", "::127.0.0.1",
    "64:ff9b::7f00:1", "2002:7f00:1::", "64:ff9b::a00:1",
)  # fmt: skip


def test_addresses_are_judged_by_what_they_lead_to() -> None:
    for kind, texts in (
        ("loopback", LOOPBACK),
        ("forbidden", FORBIDDEN),
        ("private", ("10.0.0.1", "192.168.1.1", "172.16.0.1", "fc00::1", "100.64.0.1", "::ffff:10.0.0.1")),
        ("public", ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8")),
    ):
        for text in texts:
            assert kind_of(ipaddress.ip_address(text)) == kind, text


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "x.localhost", "127.0.0.1", "[::1]", "0", "0.0.0.0", "2130706433", "0x7f.1",
             "0177.0.0.1", "127.1", "017700000001", "::ffff:127.0.0.1"]
)  # fmt: skip
def test_this_machine_is_recognised_in_every_form(host: str) -> None:
    assert names_loopback(host)


@pytest.mark.parametrize("host", ["example.org", "localhost.example.org", "10.0.0.1", "a.b", "cafe", "8.8.8.8"])
def test_other_hosts_are_no_loopback(host: str) -> None:
    assert not names_loopback(host)
    assert (literal_address(host) is None) == (not host[0].isdigit())


async def test_a_host_is_refused_for_any_of_its_addresses() -> None:
    rules = AddressRules(closed_ports=frozenset({8420}), named_loopback_only=True)
    assert await checked_addresses("127.0.0.1", 3000, rules) == [ipaddress.ip_address("127.0.0.1")]
    for host in ("127.0.0.1", "localhost", "[::1]", "2130706433", "0.0.0.0", "::ffff:127.0.0.1"):
        with pytest.raises(RefusedAddressError, match="belongs to Syntor"):
            await checked_addresses(host, 8420, rules)
    for host in ("169.254.169.254", "0xa9fea9fe", "::ffff:169.254.169.254", "fd00:ec2::254"):
        with pytest.raises(RefusedAddressError, match="link-local, reserved or metadata"):
            await checked_addresses(host, 80, rules)
    with pytest.raises(NotReachableError):
        await checked_addresses("no.such.host.invalid", 80, rules)


def test_a_name_that_merely_resolves_to_this_machine_is_refused() -> None:
    address = ipaddress.ip_address("127.0.0.1")
    with pytest.raises(RefusedAddressError, match=r"resolves to 127\.0\.0\.1, this machine"):
        AddressRules(named_loopback_only=True).check("rebinding.example.org", address, 3000)
    AddressRules().check("agent.example.org", address, 3000)


def test_the_ports_of_a_stack_are_those_of_its_state_and_its_settings(tmp_path: Path) -> None:
    assert stack_ports({"SYNTOR_HOME": str(tmp_path), "SYNTOR_HEALTH_PORT": "8430"}) == {8430}
    (tmp_path / "run").mkdir()
    state = {
        "url": "http://127.0.0.1:8420",
        "nats_url": "nats://127.0.0.1:4230",
        "control_url": "http://127.0.0.1:40001",
        "services": [{"health_url": "http://127.0.0.1:8421/readyz"}, {"health_url": ""}],
    }
    (tmp_path / "run" / "stack.json").write_text(json.dumps(state, indent=1))
    environ = {"SYNTOR_HOME": str(tmp_path), "SYNTOR_NATS_URL": "nats://a:4222,tls://b:4223", "SYNTOR_HEALTH_PORT": "0"}
    assert stack_ports(environ) == {8420, 4230, 40001, 8421, 4222, 4223, 0}
