"""A real nats-server on a port and with a store of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from syntor.runtime.nats_binary import find_nats_server
from syntor.runtime.ports import Reservation, reserve_any

_reserved: list[Reservation] = []
START_TIMEOUT_S = 10.0  # it listens after some 30 ms; a large store or a loaded machine takes longer


class NatsServer:
    """One server process; `kill` and `start` again keep port and store."""

    def __init__(self, folder: Path, *, sync: str | None = None, port: int = 0, extra: str = "") -> None:
        """Prepare a server.

        Args:
            folder: where its store and configuration live.
            sync: `sync_interval` of JetStream: `always`, `100ms`, ...; None: the server's own.
            extra: more lines of configuration.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()  # reserved also while the server is down: it comes back on it
        self.url = f"nats://127.0.0.1:{self.port}"
        self._log = folder / "nats.log"
        self._config = folder / "nats.conf"
        self._store = folder / "store"
        interval = f", sync_interval: {sync}" if sync else ""
        self._config.write_text(
            f'listen: "127.0.0.1:{self.port}"\nmax_payload: 8MB\n'
            f'jetstream {{ store_dir: "{self._store}"{interval} }}\n{extra}\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it listens.

        Raises:
            RuntimeError: it ended, or does not listen in time; the text has its last log lines.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(find_nats_server()), "-c", str(self._config)], stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.005)
        raise RuntimeError(f"nats-server did not start: {self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Stop in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End with SIGKILL."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill and start again: same port, same store."""
        self.kill()
        self.start()

    def erase(self) -> None:
        """Forget everything stored; the server must be stopped."""
        assert self._process is None, "the server runs"
        shutil.rmtree(self._store, ignore_errors=True)

    def send(self, number: signal.Signals) -> None:
        """Send any signal; returns from a SIGSTOP only once every thread of the server stands still."""
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)  # a stopped process takes no SIGTERM
            self._process.wait(10)
        self._process = None

    def __enter__(self) -> NatsServer:
        """Start the server."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()


def free_port() -> int:
    """Return a free port that nothing else of Syntor on this machine chooses before this process ends."""
    _reserved.append(reserve_any())
    return _reserved[-1].port
