"""Each NATS user may do what its service needs and nothing else; TLS is verified; wrong credentials are named."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import trustme

from syntor.contracts import access as users
from syntor.contracts.errors import ConfigurationError, NotReachableError
from syntor.faults.access import OPERATIONS, table, try_all, unexpected
from syntor.jetstream.access import Access
from syntor.jetstream.admin import apply_topology
from syntor.jetstream.connection import connect
from syntor.stack.nats_users import make_keys, render_users
from syntor.testing.nats_server import NatsServer


async def test_every_user_is_refused_what_is_not_its_own(tmp_path: Path) -> None:
    passed = await try_all(tmp_path)
    assert len(passed) == 10 * len(OPERATIONS)
    assert unexpected(passed) == [], table(passed)


def test_keys_are_made_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    wanted = users.users(["git"])
    assert make_keys(folder, wanted) == [user.name for user in wanted]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert make_keys(folder, wanted) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.nk")} == {0o600}
    assert make_keys(folder, users.users(["git", "poet"])) == ["agent-poet"]


async def test_wrong_credentials_are_named(tmp_path: Path) -> None:
    keys, others = tmp_path / "keys", tmp_path / "others"
    make_keys(keys, users.users([]))
    make_keys(others, users.users([]))
    with NatsServer(tmp_path / "nats", extra=render_users(keys, [])) as server:
        for wrong in (Access(), Access(nkey=str(others / "ingress.nk"))):
            with pytest.raises(NotReachableError, match=r"(?i)authorization"):
                await connect(server.url, "syntor/test", access=wrong)
        with pytest.raises(ConfigurationError, match=r"missing\.nk.*No such file"):
            await connect(server.url, "syntor/test", access=Access(nkey=str(tmp_path / "missing.nk")))
        with pytest.raises(ConfigurationError, match="expected the seed of a user"):
            await connect(server.url, "syntor/test", access=Access(nkey=str(keys / "ingress.pub")))


async def test_tls_is_verified_on_both_sides(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name, certificate in (
        ("server", authority.issue_cert("127.0.0.1")),
        ("client", authority.issue_cert("client")),
    ):
        certificate.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    tls = (
        f'tls {{ cert_file: "{tmp_path}/server.pem", key_file: "{tmp_path}/server.key", '
        f'ca_file: "{tmp_path}/ca.pem", verify: true }}'
    )
    ours = Access(ca=f"{tmp_path}/ca.pem", cert=f"{tmp_path}/client.pem", key=f"{tmp_path}/client.key")
    with NatsServer(tmp_path / "nats", extra=tls) as server:
        url = server.url.replace("nats://", "tls://")
        connection = await connect(url, "syntor/test", access=ours)
        assert await apply_topology(connection)
        await connection.close()
        for wrong in (Access(), Access(ca=ours.ca)):  # the authority is unknown to us; we show no certificate
            with pytest.raises(NotReachableError):
                await connect(url, "syntor/test", access=wrong, connect_timeout_s=2.0)
        with pytest.raises(ConfigurationError, match=r"absent\.pem"):
            await connect(url, "syntor/test", access=Access(ca=f"{tmp_path}/absent.pem"))
