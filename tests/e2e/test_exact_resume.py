"""A stream cut after any event continues on another ingress instance with exactly the rest."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack
from syntor.testing.nats_server import free_port

Follow = Callable[[httpx2.Response], Iterator[dict[str, Any]]]
SSE = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def other_ingress(stack: LocalStack) -> Iterator[str]:
    """A second ingress process on the same log."""
    port = free_port()
    environ = stack.environ | {
        "SYNTOR_NATS_URL": stack.nats_url,
        "SYNTOR_NATS_KEYS": str(stack.home / "nats-keys"),
        "SYNTOR_HTTP_PORT": str(port),
        "SYNTOR_HEALTH_PORT": "0",
    }
    process = subprocess.Popen([sys.executable, "-m", "syntor.ingress"], env=environ, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    transport = httpx2.HTTPTransport(retries=20)
    with httpx2.Client(transport=transport) as client:
        assert client.get(f"{url}/v1/agents", timeout=10).status_code == 200
    yield url
    process.terminate()
    process.wait(10)


def test_a_stream_cut_at_every_event_resumes_elsewhere_with_exactly_the_rest(
    http: httpx2.Client, other_ingress: str, follow: Follow
) -> None:
    run_id = http.post("/v1/runs", json={"agent": "worker", "input": "slow please"}).json()["run_id"]
    seen: list[dict[str, Any]] = []
    with http.stream("GET", f"/v1/runs/{run_id}/events", headers=SSE) as response:
        for event in follow(response):
            seen.append(event)
            if (
                event["type"] != "run_done"
            ):  # resumed while the run is in progress: the other ingress sends the next events
                headers = {**SSE, "Last-Event-ID": str(event["position"])}
                with httpx2.stream("GET", f"{other_ingress}/v1/runs/{run_id}/events", headers=headers) as resumed:
                    following = next(follow(resumed))
                assert following["position"] > event["position"]
                seen[-1]["following"] = following["position"]
    assert len(seen) > 12
    for event, after in itertools.pairwise(seen):
        assert event.pop("following") == after["position"]
    whole = [event["position"] for event in seen]
    for cut, event in enumerate(seen):  # resumed after the end, by header and by query
        for url, headers in (
            (f"{other_ingress}/v1/runs/{run_id}/events", {**SSE, "Last-Event-ID": str(event["position"])}),
            (f"{other_ingress}/v1/runs/{run_id}/events?after={event['position']}", SSE),
        ):
            with httpx2.stream("GET", url, headers=headers) as resumed:
                rest = [late["position"] for late in follow(resumed)]
            assert rest == whole[cut + 1 :]


def test_a_page_of_json_is_the_same_events(http: httpx2.Client, other_ingress: str) -> None:
    run_id = http.post("/v1/runs", json={"agent": "worker", "input": "hello"}, headers={"Prefer": "wait=30"}).json()[
        "run_id"
    ]
    whole = http.get(f"/v1/runs/{run_id}/events").json()["events"]
    page = httpx2.get(f"{other_ingress}/v1/runs/{run_id}/events?after={whole[2]['position']}&limit=3").json()["events"]
    assert page == whole[3:6]
