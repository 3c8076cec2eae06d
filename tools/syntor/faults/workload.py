"""Workload of the soak test: clients that start runs continuously: plain, with external effects, plans, cancelled."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from syntor.testing.local_stack import headers_of

KINDS = ("plain", "effect", "plan", "cancel")
PAUSE_S = 0.6  # longest pause between two runs of a client
MAX_OPEN = 40  # concurrent runs; above it clients wait, so that idle work is not work that queues
_FULL_PAUSE_S = 2.0
_RETRY_S = 0.1
_DEADLINE_S = 60.0


def script(effects_url: str) -> dict[str, Any]:
    """Return the rules of the scripted model."""
    post = {"method": "POST", "url": f"{effects_url}/{{input}}", "body": "{}"}
    steps = [
        {"id": name, "agent": "worker", "action": f"step {name}", "depends_on": needs}
        for name, needs in (("a", []), ("b", ["a"]), ("c", ["a"]), ("d", ["b", "c"]))
    ]
    plan = {"name": "plan", "arguments": {"summary": "a diamond", "steps": steps}}
    return {
        "rules": [
            {"match": "^effect/", "tool_calls": [{"name": "http_request", "arguments": post}]},
            {"match": "^plan", "tool_calls": [plan]},
            {"match": "^step", "text": "{input}", "delay_s": 0.05},
            {"match": "^cancel", "text": "one two three four five six", "chunk_words": 1, "chunk_delay_s": 0.2},
            {"tool_result": ".", "text": "All is done."},
            {"text": "The answer to {input}.", "chunk_words": 1, "chunk_delay_s": 0.01},
        ]
    }


class Accepted(msgspec.Struct, frozen=True):
    """A run the ingress acknowledged."""

    run_id: str
    position: int
    number: int
    kind: str


class Workload:
    """Clients that start runs until stopped; each request is retried with its idempotency key until it is answered."""

    def __init__(
        self,
        url: str,
        workspace: Path,
        seed: int,
        max_runs: int,
        ended: Callable[[], int],
        clients: int = 4,
        on_accepted: Callable[[str], None] = lambda run_id: None,
    ) -> None:
        self._url = url
        self._workspace = str(workspace)
        self._rng = random.Random(seed)
        self._max_runs = max_runs
        self._ended = ended
        self._on_accepted = on_accepted
        self.rate: float | None = None
        """Runs per second to start; 0: as many as there may be open; None: each client pauses as it likes."""
        self._due = 0.0
        self._next = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.accepted: list[Accepted] = []
        self.faults: list[str] = []
        """Responses that no client may get."""
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(clients)]

    def start(self) -> None:
        """Start the clients."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the clients and wait for their requests in flight."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_DEADLINE_S + 5)

    def _client(self) -> None:
        with httpx2.Client(base_url=self._url, headers=headers_of(self._url), timeout=10.0) as client:
            while not self._stop.is_set() and (job := self._job()) is not None:
                number, kind, session, pause_s = job
                self._start_run(client, number, kind, session)
                if self.rate is None:
                    self._stop.wait(pause_s + (_FULL_PAUSE_S if self.open > MAX_OPEN else 0.0))
                elif self.rate > 0:
                    self._stop.wait(self._until_due(1 / self.rate))
                else:
                    while self.open > MAX_OPEN and not self._stop.wait(_RETRY_S):
                        pass

    @property
    def open(self) -> int:
        """Runs accepted and not ended."""
        return len(self.accepted) - self._ended()

    def _until_due(self, interval_s: float) -> float:
        """Return the seconds until the next run is to be started; time lost is made up for, up to a second."""
        with self._lock:
            now = time.monotonic()
            self._due = max(self._due + interval_s, now - 1.0)
            return max(0.0, self._due - now)

    def _job(self) -> tuple[int, str, str, float] | None:
        with self._lock:
            number = self._next
            if number >= self._max_runs:
                return None
            self._next += 1
            kind = self._rng.choice(KINDS)
            return number, kind, f"s{self._rng.randrange(40)}", self._rng.random() * PAUSE_S

    def _start_run(self, client: httpx2.Client, number: int, kind: str, session: str) -> None:
        body = {
            "agent": "coordination" if kind == "plan" else "worker",
            "input": f"{kind}/{number}",  # the path of an effect
            "session_id": session,
            "workspace": self._workspace,
            "permissions": {"mode": "auto", "allow": ["http_request(POST http://127.0.0.1:*)"]},
        }
        accepted = self._post(client, "/v1/runs", body, {"Idempotency-Key": f"job-{number}"})
        if accepted is None:
            return
        run = Accepted(accepted["run_id"], accepted["position"], number, kind)
        with self._lock:
            self.accepted.append(run)
        self._on_accepted(run.run_id)
        if kind == "cancel":
            self._post(client, f"/v1/runs/{run.run_id}/cancel", {}, {})

    def _post(
        self, client: httpx2.Client, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> dict[str, Any] | None:
        deadline = time.monotonic() + _DEADLINE_S
        while time.monotonic() < deadline:
            try:
                response = client.post(path, json=body, headers=headers)
            except httpx2.TransportError:
                time.sleep(_RETRY_S)
                continue
            if response.status_code in (200, 202):
                found: dict[str, Any] = response.json()
                return found
            if response.status_code == 409 and path.endswith("/cancel"):
                return None  # it ended just before
            if response.status_code != 503:
                self.faults.append(f"POST {path}: {response.status_code} {response.text[:200]}")
                return None
            time.sleep(_RETRY_S)
        self.faults.append(f"POST {path}: no response within {_DEADLINE_S:g} s")
        return None
