"""Which addresses that a model, a registration or a file names may be called: one rule, on the resolved address.

A name is judged by what it resolves to at that moment, and the connection is made to the address that was judged
(`checked_http`), so neither a redirect nor a name that resolves to another address the next time leads elsewhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from syntor.contracts.errors import NotReachableError, RejectionError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Kind = Literal["public", "private", "loopback", "forbidden"]
"""forbidden: link-local, multicast and reserved addresses, and those of cloud metadata services."""
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42")
)  # Alibaba, Azure, Oracle, AWS, Google, Scaleway; the others are link-local
_TRANSLATED = tuple(
    ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")
)
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")  # connects to loopback
_PORT = re.compile(r"://[^/\s\"]*:(\d{1,5})")
_URLS = ("SYNTOR_NATS_URL", "SYNTOR_STACK_URL", "SYNTOR_URL")
_NUMERIC = re.compile(r"[0-9a-fx.]+\Z", re.IGNORECASE)


class RefusedAddressError(RejectionError):
    """The address may not be called."""

    code = "refused_address"


class AddressRules(msgspec.Struct, frozen=True, kw_only=True):
    """What one caller may reach besides public and private addresses."""

    closed_ports: frozenset[int] = frozenset()
    """Ports of this machine that are closed to it: those of the stack itself."""
    named_loopback_only: bool = False
    """Whether loopback has to be named as such: a name that merely resolves to it is refused."""

    def check(self, host: str, address: Address, port: int) -> None:
        """Accept a connection to an address `host` resolved to.

        Raises:
            RefusedAddressError: it may not be made; says why.
        """
        kind = kind_of(address)
        shown = host if host == str(address) else f"{host} ({address})"
        if kind == "forbidden":
            raise RefusedAddressError(
                f"{shown} is a link-local, reserved or metadata address; requests to it are refused"
            )
        if port in self.closed_ports and (kind == "loopback" or _is_own(address, port)):
            raise RefusedAddressError(f"{shown} port {port} belongs to Syntor itself: requests are refused")
        if kind == "loopback" and self.named_loopback_only and not names_loopback(host):
            raise RefusedAddressError(f"{host} resolves to {address}, this machine; name that address to reach it")


def kind_of(address: Address) -> Kind:
    """Return what an address leads to, also where it only wraps another one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return kind_of(address.ipv4_mapped)
        if any(kind_of(each) != "public" for each in _wrapped(address)):
            return "forbidden"
    if address.is_unspecified or address.is_loopback or address in _THIS_NETWORK:
        return "loopback"
    if address in _METADATA or address.is_link_local or address.is_multicast or _is_reserved(address):
        return "forbidden"
    return "public" if address.is_global else "private"


def _wrapped(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that translators and tunnels make of an IPv6 address."""
    if address.is_loopback or address.is_unspecified:
        return []
    found = [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)] if any(address in each for each in _TRANSLATED) else []
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.append(address.teredo[1])
    return found


def _is_reserved(address: Address) -> bool:
    return isinstance(address, ipaddress.IPv4Address) and address.is_reserved


def literal_address(host: str) -> Address | None:
    """Return the address a host is the number of, also `2130706433` and `0x7f.1` as resolvers accept; None: a name."""
    text = host.strip("[]").partition("%")[0]
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(text)) if _NUMERIC.match(text) else None
    except OSError:
        return None


def names_loopback(host: str) -> bool:
    """Return whether a host names this machine, before anything is resolved."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = literal_address(host)
    return address is not None and kind_of(address) == "loopback"


async def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host, best first; never empty.

    Raises:
        NotReachableError: it has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else ""
        raise NotReachableError(f"{host}: {reason or exc}") from exc
    addresses = [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]
    return list(dict.fromkeys(addresses))


async def checked_addresses(host: str, port: int, rules: AddressRules) -> list[Address]:
    """Return the addresses of a host, each of which may be called.

    Raises:
        RefusedAddressError: one of them may not.
        NotReachableError: it has none.
    """
    addresses = await resolve(host, port)
    for address in addresses:
        rules.check(host, address, port)
    return addresses


def _is_own(address: Address, port: int) -> bool:
    """Return whether an address is one of this machine: the kernel would then send from the same one."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), port or 1))  # sends nothing
            return ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]) == address
    except OSError:
        return False


def stack_ports(environ: Mapping[str, str]) -> frozenset[int]:
    """Return the ports of the stack a process belongs to: of its state file, and of its own settings.

    Args:
        environ: `SYNTOR_HOME` names the home folder; `SYNTOR_*` have the addresses the process was given.
    """
    given = (environ.get(name, "") for name in ("SYNTOR_HEALTH_PORT", "SYNTOR_HTTP_PORT"))
    own = {int(text) for text in given if text.isdigit()}
    text = " ".join(environ.get(name, "").replace(",", " ") for name in _URLS)
    try:
        home = Path(environ.get("SYNTOR_HOME") or "~/.syntor").expanduser()
        text += (home / "run" / "stack.json").read_text("utf-8", "replace")
    except OSError:  # services that were started by hand
        pass
    return frozenset(own | {int(port) for port in _PORT.findall(text)})
