"""Runs that are started all the time, whatever happens: plain ones, with effects outside, plans, cancelled."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import msgspec

KINDS = ("plain", "effect", "plan", "cancel")
PAUSE_S = 0.6  # at most, between two runs of a client
MOST_OPEN = 40  # runs at once; above it clients wait, so that work that lies still is not work that queues
_FULL_PAUSE_S = 2.0
_RETRY_S = 0.1
_GIVE_UP_S = 60.0


def script(effects_url: str, runs: int) -> dict[str, Any]:
    """Return the rules of the scripted model for so many runs."""
    rules: list[dict[str, Any]] = []
    for number in range(runs):
        post = {"method": "POST", "url": f"{effects_url}/effect/{number}", "body": "{}"}
        rules.append({"match": f"^effect {number}$", "tool_calls": [{"name": "http_request", "arguments": post}]})
    steps = [
        {"id": name, "agent": "worker", "action": f"step {name}", "depends_on": needs}
        for name, needs in (("a", []), ("b", ["a"]), ("c", ["a"]), ("d", ["b", "c"]))
    ]
    plan = {"name": "plan", "arguments": {"summary": "a diamond", "steps": steps}}
    return {
        "rules": [
            *rules,
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
    """Clients that start runs until told to stop; each request is repeated under its key until it is answered."""

    def __init__(
        self, url: str, workspace: Path, seed: int, most: int, ended: Callable[[], int], clients: int = 4
    ) -> None:
        self._url = url
        self._workspace = str(workspace)
        self._dice = random.Random(seed)
        self._most = most
        self._ended = ended
        self._next = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.accepted: list[Accepted] = []
        self.faults: list[str] = []
        """What should not have happened: an answer nobody may get."""
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(clients)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Start no more runs, and wait for those that are being started."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_GIVE_UP_S + 5)

    def _client(self) -> None:
        with httpx2.Client(base_url=self._url, timeout=10.0) as client:
            while not self._stop.is_set() and (job := self._job()) is not None:
                number, kind, session, pause_s = job
                self._one(client, number, kind, session)
                self._stop.wait(pause_s + (_FULL_PAUSE_S if len(self.accepted) - self._ended() > MOST_OPEN else 0.0))

    def _job(self) -> tuple[int, str, str, float] | None:
        with self._lock:
            number = self._next
            if number >= self._most:
                return None
            self._next += 1
            return number, self._dice.choice(KINDS), f"s{self._dice.randrange(40)}", self._dice.random() * PAUSE_S

    def _one(self, client: httpx2.Client, number: int, kind: str, session: str) -> None:
        body = {
            "agent": "coordination" if kind == "plan" else "worker",
            "input": f"{kind} {number}",
            "session_id": session,
            "workspace": self._workspace,
            "permissions": {"mode": "auto"},
        }
        answer = self._patiently(client, "/v1/runs", body, {"Idempotency-Key": f"job-{number}"})
        if answer is None:
            return
        run = Accepted(answer["run_id"], answer["position"], number, kind)
        with self._lock:
            self.accepted.append(run)
        if kind == "cancel":
            self._patiently(client, f"/v1/runs/{run.run_id}/cancel", {}, {})

    def _patiently(
        self, client: httpx2.Client, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> dict[str, Any] | None:
        deadline = time.monotonic() + _GIVE_UP_S
        while time.monotonic() < deadline:
            try:
                answer = client.post(path, json=body, headers=headers)
            except httpx2.TransportError:
                time.sleep(_RETRY_S)
                continue
            if answer.status_code in (200, 202):
                found: dict[str, Any] = answer.json()
                return found
            if answer.status_code == 409 and path.endswith("/cancel"):
                return None  # it ended before
            if answer.status_code != 503:
                self.faults.append(f"POST {path}: {answer.status_code} {answer.text[:200]}")
                return None
            time.sleep(_RETRY_S)
        self.faults.append(f"POST {path}: no answer within {_GIVE_UP_S:g} s")
        return None
