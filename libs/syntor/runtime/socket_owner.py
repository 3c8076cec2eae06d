"""Asks the kernel which account owns the other end of a connection on this machine, or a listening socket.

Linux only (sock_diag(7)); the numbers are those of `linux/sock_diag.h` and `linux/inet_diag.h`. The request names one
socket, so its cost does not grow with the number of connections.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct

Address = tuple[str, int]
"""Host, as a number, and port."""
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST = 4, 20, 1
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states
_PORTS = struct.Struct("!HH")
_REST = struct.Struct("=III")  # interface, cookie twice; all bits: any
_REPLY = struct.Struct("=BBBB48sIIIII")  # family, state, timer, retransmits, socket, expires, queues, uid, inode
_ANY = 0xFFFFFFFF
_TIMEOUT_S = 1.0


class Unknown(Exception):  # noqa: N818 - the absence of knowledge, not a failure
    """The kernel does not tell: it has no such socket, or no such interface."""


def peer_owner(peer: Address, own: Address) -> int:
    """Return the uid of the process at the other end of a connection on this machine.

    Args:
        peer: its address, as `getpeername` returned it.
        own: the address of this end.

    Raises:
        Unknown: no process has it any more, it is not on this machine, or the kernel does not tell.
    """
    return _owner(peer, own)


def listener_owner(own: Address) -> int:
    """Return the uid of the process that listens on an address.

    Raises:
        Unknown: none does, or the kernel does not tell.
    """
    any_host = "::" if ":" in own[0] else "0.0.0.0"
    return _owner(own, (any_host, 0))


def is_supported() -> bool:
    """Return whether the kernel tells owners: tried with a connection of this process."""
    with contextlib.ExitStack() as stack:
        try:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            client = stack.enter_context(socket.create_connection(listening.getsockname(), _TIMEOUT_S))
            return peer_owner(client.getsockname(), listening.getsockname()) == os.geteuid()
        except (OSError, Unknown):
            return False


def _owner(local: Address, remote: Address) -> int:
    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    request = _request(family, local, remote)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as netlink:
            netlink.settimeout(_TIMEOUT_S)
            netlink.send(request)
            reply = netlink.recv(8192)
    except (OSError, AttributeError) as exc:  # no AF_NETLINK: not Linux
        raise Unknown(str(exc)) from exc
    if _HEADER.unpack_from(reply)[1] != _SOCK_DIAG_BY_FAMILY or len(reply) < _HEADER.size + _REPLY.size:
        raise Unknown(f"no socket {local[0]} {local[1]}")
    *_, uid, inode = _REPLY.unpack_from(reply, _HEADER.size)
    if not inode:  # closed by its process; the kernel then gives uid 0
        raise Unknown(f"no process has {local[0]} {local[1]}")
    return int(uid)


def _request(family: socket.AddressFamily, local: Address, remote: Address) -> bytes:
    numbers = [socket.inet_pton(family, host.partition("%")[0]) for host, _ in (local, remote)]
    hosts = b"".join(number.ljust(16, b"\0") for number in numbers)
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _ANY) + _PORTS.pack(local[1], remote[1])
    body += hosts + _REST.pack(0, _ANY, _ANY)
    return _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body
