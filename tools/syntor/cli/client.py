"""The HTTP API as commands use it: JSON questions, and event streams that survive a restart of the server."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Generator, Iterator
from typing import Any

import httpx2
import msgspec

from syntor.cli.output import ExitCode, fail
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import ConfigurationError, InfrastructureError, NotReachableError
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.stack.layout import home_folder
from syntor.stack.running import ensure_running

Json = dict[str, Any]
RECONNECT_S = 30.0  # a restarted service is back within a few seconds
_RETRY_DELAYS_S = (0.1, 0.2, 0.5, 1.0)
_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
_STREAM_TIMEOUT = httpx2.Timeout(45.0, connect=5.0)  # the server sends a comment every 15 s


class ProblemError(Exception):
    """The server refused: its problem document.

    Attributes:
        status: HTTP status.
        code: stable code of the problem.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class ApiClient:
    """One server."""

    def __init__(self, base_url: str) -> None:
        self.base_url: str = base_url
        self._client: Any = _client(base_url)

    def get(self, path: str, **parameters: Any) -> Json:
        """Return the JSON answer; parameters that are None or empty are left out.

        Raises:
            ProblemError: the server refused.
            NotReachableError: it does not answer.
        """
        chosen = {name: value for name, value in parameters.items() if value not in (None, "", 0)}
        return self._ask("GET", path, params=chosen)

    def post(self, path: str, body: Json) -> Json:
        """Send a JSON body and return the JSON answer; errors as `get`."""
        return self._ask("POST", path, content=msgspec.json.encode(body), headers={"Content-Type": "application/json"})

    def delete(self, path: str) -> Json:
        """Delete something and return the JSON answer; errors as `get`."""
        return self._ask("DELETE", path)

    def events(self, path: str, after: int | None = None) -> Generator[Json, None, None]:
        """Yield event objects of a stream; a cut stream continues behind the last event, for up to 30 s.

        Raises:
            ProblemError: the server refused.
            NotReachableError: it stayed away.
        """
        position, failing_since, delays = after, 0.0, iter(_RETRY_DELAYS_S)
        while True:
            headers = {"Accept": "text/event-stream"}
            if position is not None:
                headers["Last-Event-ID"] = str(position)
            try:
                with self._client.stream("GET", path, headers=headers, timeout=_STREAM_TIMEOUT) as response:
                    if response.status_code == 204:
                        return
                    if response.status_code == 503:
                        raise httpx2.RemoteProtocolError("the server is not ready")
                    _check(response)
                    for event in _sse(response.iter_lines()):
                        failing_since, delays = 0.0, iter(_RETRY_DELAYS_S)
                        if "resume_after" in event:
                            position = event["resume_after"]
                            break
                        position = event["position"]
                        yield event
                        if event["type"] in TERMINAL_RUN_TYPES and path.startswith("/v1/runs/"):
                            return
            except httpx2.TransportError as exc:
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > RECONNECT_S:
                    raise NotReachableError(f"{self.base_url} stayed away: {exc or type(exc).__name__}") from exc
                self._follow_stack()
            time.sleep(next(delays, _RETRY_DELAYS_S[-1]))

    def follow(self, run_id: str, after: int | None = None) -> Generator[Json, None, None]:
        """Yield a run's events to its end."""
        return self.events(f"/v1/runs/{run_id}/events", after)

    def start_run(self, body: Json) -> Json:
        """Start a run and return its ids; an answer that was lost is asked for again without starting another."""
        from syntor.contracts.ids import new_id

        headers = {"Content-Type": "application/json", "Idempotency-Key": f"cli-{new_id()}"}
        failing_since = 0.0
        while True:
            try:
                return self._ask("POST", "/v1/runs", content=msgspec.json.encode(body), headers=headers)
            except (NotReachableError, ProblemError) as exc:
                if isinstance(exc, ProblemError) and exc.status != 503:
                    raise
                failing_since = failing_since or time.monotonic()
                if "SYNTOR_URL" in os.environ or time.monotonic() - failing_since > RECONNECT_S:
                    raise
                time.sleep(_RETRY_DELAYS_S[-1])

    def resolve_run(self, text: str) -> str:
        """Return the id of a run given as `latest`, as an id, or as the unique beginning or end of one."""
        if len(text) == 26:
            return text
        runs: list[Json] = self.get("/v1/runs", limit=1 if text == "latest" else 500)["runs"]
        if text == "latest":
            if not runs:
                fail("there is no run yet", ExitCode.RUN_FAILED, 'start one: syntor chat "hello"')
            return str(runs[0]["run_id"])
        found = [run["run_id"] for run in runs if run["run_id"].startswith(text) or run["run_id"].endswith(text)]
        if len(found) > 1:
            fail(f"run {text!r} could be any of {', '.join(found[:5])}", ExitCode.USAGE)
        return found[0] if found else text

    def _ask(self, method: str, path: str, **more: Any) -> Json:
        try:
            response = self._client.request(method, path, **more)
        except httpx2.TransportError as exc:
            raise NotReachableError(_away(self.base_url, exc)) from exc
        _check(response)
        answer: Json = msgspec.json.decode(response.content) if response.content else {}
        return answer

    def _follow_stack(self) -> None:
        """Take the stack's address again: it may have come back on another port."""
        if "SYNTOR_URL" in os.environ:
            return
        try:
            url = ensure_running(home_folder(os.environ))
        except InfrastructureError:
            return  # still starting: tried again
        if url != self.base_url:
            self.base_url = url
            self._client = _client(url)


def open_client() -> ApiClient:
    """Return a client of the server that is meant: SYNTOR_URL, or the home folder's stack, started if need be."""
    return ApiClient(ensure_running(home_folder(os.environ)))


def _client(base_url: str) -> Any:
    token = os.environ.get("SYNTOR_TOKEN", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    authority = os.environ.get("SYNTOR_TLS_CA", "")
    try:
        verify = ssl.create_default_context(cafile=authority) if authority else True
    except OSError as exc:
        raise ConfigurationError(f"SYNTOR_TLS_CA={authority!r}: {exc.strerror or exc}") from exc
    return httpx2.Client(base_url=base_url, timeout=_TIMEOUT, headers=headers, verify=verify)


def _away(url: str, exc: Exception) -> str:
    return f"Syntor is not reachable at {url} ({exc or type(exc).__name__}); start it: syntor up"


def _check(response: httpx2.Response) -> None:
    if response.status_code < 400:
        return
    body = response.read()
    try:
        problem = msgspec.json.decode(body, type=dict[str, Any])
    except UNDECODABLE:
        problem = {"detail": body[:200].decode("utf-8", "replace")}
    detail = str(problem.get("detail") or problem.get("title") or response.status_code)
    raise ProblemError(response.status_code, str(problem.get("code", "")), detail)


def _sse(lines: Iterator[str]) -> Iterator[Json]:
    """Yield the data of each event; comments and other fields are skipped."""
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            event: Json = msgspec.json.decode("\n".join(data))
            data = []
            yield event
