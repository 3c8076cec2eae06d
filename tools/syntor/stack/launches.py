"""Decides how each process of a stack is started: program, environment, ports. Ports are checked at each start."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from syntor.runtime.nats_binary import find_nats_server
from syntor.stack import nats_config
from syntor.stack.environment import Addresses, environment, is_provider_key
from syntor.stack.layout import Layout
from syntor.stack.nats_users import LOCAL_AGENTS, ensure_local_keys, render_users
from syntor.stack.options import Options
from syntor.stack.port import LOOPBACK, MONITOR_PORT, Ports, is_free
from syntor.stack.services import INGRESS, NATS, SERVICES, ServiceSpec
from syntor.stack.spawn import Launch
from syntor.stack.state import StackState

_PYTHON = [sys.executable, "-P", "-m"]  # -P: a module in the working folder must not shadow Syntor's


class Topology(msgspec.Struct, frozen=True):
    """Records which topology was last applied to the log."""

    marker: Path
    digest: str
    external: bool
    """An external server, which may have been reset since."""

    @property
    def is_new(self) -> bool:
        """Return whether streams must be applied before services can bind to them."""
        if self.external:
            return True
        try:
            return self.marker.read_bytes() != self.digest.encode()
        except OSError:
            return True

    def mark_applied(self) -> None:
        """Record that the server has it."""
        if not self.external:
            self.marker.write_text(self.digest)


class Launches:
    """Launches of one stack; writes addresses and notices into its state."""

    def __init__(self, options: Options, environ: Mapping[str, str], state: StackState, user_mask: int) -> None:
        """Prepare the launches.

        Args:
            user_mask: the user's umask, for agents, which write the user's files.
        """
        self._options = options
        self._layout = Layout(Path(options.home))
        self._state = state
        self._user_mask = user_mask
        self._ports = Ports()
        self._nats_port = 0
        self._monitor_port = 0
        self._http_port = 0
        self._health_ports: dict[str, int] = {}
        self.inherited = dict(environ)

    def choose_addresses(self) -> None:
        """Choose the ports clients use, with a notice for each that is not the preferred one.

        Raises:
            NotReachableError: no port is free.
        """
        options = self._options
        self._http_port = self._take("HTTP", options.http_port, options.http_host)
        local = LOOPBACK if options.http_host in ("0.0.0.0", "::", "localhost") else options.http_host
        scheme = "https" if self.inherited.get("SYNTOR_TLS_CERT") else "http"
        self._state.url = f"{scheme}://{local}:{self._http_port}"
        if options.nats_url:
            self._state.nats_url = options.nats_url
        else:
            self._nats_port = self._take("NATS", options.nats_port, LOOPBACK)
            self._monitor_port = self._ports.take(MONITOR_PORT)
            self._state.nats_url = f"nats://{LOOPBACK}:{self._nats_port}"
            self.inherited["SYNTOR_NATS_KEYS"] = str(self._layout.nats_keys)
            ensure_local_keys(self._layout.nats_keys)

    def nats(self) -> Launch:
        """Write the configuration of nats-server and return its launch."""
        if not is_free(self._monitor_port):
            self._monitor_port = self._ports.replace(self._monitor_port)
        name = f"syntor-{hashlib.sha256(self._options.home.encode()).hexdigest()[:8]}"
        text = nats_config.render(
            name=name,
            host=LOOPBACK,
            port=self._nats_port,
            monitor_port=self._monitor_port,
            store=self._layout.nats_store,
            durability=self._options.durability,
            users=render_users(self._layout.nats_keys, LOCAL_AGENTS),
        )
        self._layout.nats_config.write_text(text)
        environ = {name: value for name, value in self.inherited.items() if not is_provider_key(name)}
        environ.setdefault("GOMEMLIMIT", nats_config.memory_limit(self._layout.nats_store))
        argv = [str(find_nats_server()), "--config", str(self._layout.nats_config)]
        return Launch(argv, environ, self._layout.home, self._monitor_port, "/healthz", name)

    def apply(self) -> Launch:
        """Return the launch that applies streams and consumers."""
        environ = self.inherited | {"SYNTOR_NATS_URL": self._state.nats_url}
        return Launch([*_PYTHON, "syntor.stack.apply"], environ, self._layout.home)

    def service(self, spec: ServiceSpec) -> Callable[[], Launch]:
        """Return a function that makes the launch of a service at each start."""
        return lambda: self._service(spec)

    def lost_port(self, name: str) -> bool:
        """Return whether another program listens on the port that clients of a process that has exited know."""
        if name == NATS:
            return not is_free(self._nats_port)
        return name == INGRESS.name and not is_free(self._http_port, self._options.http_host)

    def topology(self) -> Topology:
        """Return the topology of this installation, to compare with the one last applied."""
        import syntor.contracts.topology as declared

        digest = hashlib.sha256(Path(declared.__file__).read_bytes()).hexdigest()
        return Topology(self._layout.topology, digest, bool(self._options.nats_url))

    def _service(self, spec: ServiceSpec) -> Launch:
        if spec == INGRESS and self.lost_port(spec.name):
            self._http_port = self._ports.replace(self._http_port, self._options.http_host)
            self._notice("HTTP", self._options.http_port, self._http_port)
            self._state.url = f"{self._state.url.rpartition(':')[0]}:{self._http_port}"
        port = self._health_port(spec)
        addresses = Addresses(self._state.nats_url, self._http_port, self._state.control_url, self._state.token)
        environ = environment(spec, self._options, addresses, port, self.inherited)
        mask = self._user_mask if spec.is_agent else -1
        return Launch([*_PYTHON, spec.module], environ, self._layout.home, port, umask=mask)

    def _health_port(self, spec: ServiceSpec) -> int:
        known = self._health_ports.get(spec.name, 0)
        if known:
            port = known if is_free(known) else self._ports.replace(known)
        else:
            base = self._options.health_port or self._http_port + 1
            port = self._ports.take(base + (SERVICES.index(spec) if spec in SERVICES else len(SERVICES)))
        self._health_ports[spec.name] = port
        return port

    def _take(self, what: str, preferred: int, host: str) -> int:
        port = self._ports.take(preferred, host)
        self._notice(what, preferred, port)
        return port

    def _notice(self, what: str, preferred: int, port: int) -> None:
        if port != preferred:
            self._state.notices.append(f"{what} port {preferred} is in use, took {port}")
