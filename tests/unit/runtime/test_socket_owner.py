"""The kernel tells whose the other end of a connection is; a closed one has no owner."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from syntor.runtime.socket_owner import Unknown, is_supported, listener_owner, peer_owner

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_owners_of_both_ends_are_known(family: socket.AddressFamily, host: str) -> None:
    assert is_supported()
    with socket.create_server((host, 0), family=family) as listening:
        own = listening.getsockname()[:2]
        assert listener_owner(own) == os.geteuid()
        with socket.create_connection(own) as client:
            peer = client.getsockname()[:2]
            assert peer_owner(peer, own) == os.geteuid()
        with pytest.raises(Unknown):  # the kernel keeps it for a while, with uid 0
            peer_owner(peer, own)
    with pytest.raises(Unknown):
        listener_owner(own)
