"""Every service of a running stack shows metrics the official parser reads, and they say what an operator asks."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from syntor.testing.local_stack import LocalStack

SSE = {"Accept": "text/event-stream"}
SCRIPT = """
rules:
  - match: tool
    tool_calls: [{name: list_directory, arguments: {path: .}}]
  - match: write
    tool_calls: [{name: write_file, arguments: {path: one.txt, content: "1"}}]
  - match: fail
    error: {code: model_unavailable, message: the scripted model is unavailable}
  - tool_result: .
    text: I looked.
  - text: The scripted answer.
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack with a model that calls tools, waits for approval, fails and answers."""
    local = LocalStack(tmp_path_factory.mktemp("home"), script=SCRIPT)
    local.up("--durability", "fast")
    yield local
    local.down()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A workspace."""
    return str(tmp_path_factory.mktemp("workspace"))


def scrape(stack: LocalStack) -> Iterator[tuple[str, str]]:
    """Yield the metrics of each service."""
    for service in stack.status()["services"]:
        if service["name"] != "nats" and service["pid"]:
            response = httpx2.get(service["health_url"].rpartition("/")[0] + "/metrics", timeout=10)
            assert response.status_code == 200, service["name"]
            assert response.headers["content-type"].startswith("text/plain; version=")
            yield service["name"], response.text


def run(folder: str, http: httpx2.Client, text: str, **headers: str) -> httpx2.Response:
    body = {"agent": "worker", "input": text, "workspace": folder}
    return http.post("/v1/runs", json=body, headers=headers)


@pytest.fixture(scope="module")
def scraped(stack: LocalStack, folder: str) -> dict[str, dict[str, Metric]]:
    """Metrics of each service, by service and name, after runs that answered, used a tool and failed."""
    with httpx2.Client(base_url=stack.url, timeout=60) as http:
        assert run(folder, http, "hello", Prefer="wait=30").json()["status"] == "done"
        assert run(folder, http, "tool please", Prefer="wait=30").json()["status"] == "done"
        assert run(folder, http, "fail please", Prefer="wait=30").json()["status"] == "failed"
        assert "run_done" in run(folder, http, "hello", **SSE).text
        http.get("/v1/runs")
    found: dict[str, dict[str, Metric]] = {}
    for name, text in scrape(stack):
        families = list(text_string_to_metric_families(text))
        found[name] = {family.name: family for family in families}
        assert len(found[name]) == len(families), f"{name}: a metric is there twice"
        assert all(family.documentation and family.type != "unknown" for family in families), name
        assert text.count("\n") < 5000, f"{name}: too many series"
    return found


def value(metric: Metric, name: str = "", **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels."""
    wanted = name or (metric.name + "_total" if metric.type == "counter" else metric.name)
    samples = [s for s in metric.samples if s.name == wanted and labels.items() <= s.labels.items()]
    assert samples, f"{wanted} {labels}"
    return math.fsum(sample.value for sample in samples)


def test_every_service_says_what_runs(scraped: dict[str, dict[str, Metric]]) -> None:
    for name, metrics in scraped.items():
        (sample,) = metrics["syntor_build_info"].samples
        assert (sample.labels["service"], sample.value) == (name, 1.0)
        assert sample.labels["version"]
        assert "syntor_event_loop_lag_seconds" in metrics


def test_requests_waits_and_streams_are_apart(scraped: dict[str, dict[str, Metric]]) -> None:
    ingress, route = scraped["ingress"], "/v1/runs"
    assert value(ingress["syntor_http_wait_seconds"], "syntor_http_wait_seconds_count", route=route) == 3
    assert value(ingress["syntor_http_stream_seconds"], "syntor_http_stream_seconds_count", route=route) == 1
    assert value(ingress["syntor_http_stream_start_seconds"], "syntor_http_stream_start_seconds_count") == 1
    name = "syntor_http_request_seconds_count"
    assert value(ingress["syntor_http_request_seconds"], name, route=route, method="GET") >= 1
    assert not [s for s in ingress["syntor_http_request_seconds"].samples if s.labels.get("method") == "POST"]


def test_models_and_tools_are_counted(scraped: dict[str, dict[str, Metric]]) -> None:
    worker = scraped["agent-worker"]
    calls = worker["syntor_model_calls"]
    assert value(calls, agent="worker", provider="scripted", outcome="done") >= 4
    assert value(calls, outcome="model_unavailable") >= 1
    assert value(worker["syntor_model_call_seconds"], "syntor_model_call_seconds_count", provider="scripted") >= 5
    assert value(worker["syntor_model_tokens"], kind="output", agent="worker") > 0
    assert value(worker["syntor_model_cost_dollars"]) >= 0
    assert value(worker["syntor_tool_calls"], tool="list_directory", outcome="completed", agent="worker") == 1
    assert value(worker["syntor_tool_call_seconds"], "syntor_tool_call_seconds_count", tool="list_directory") == 1


def test_queues_consumers_approvals_and_dead_letters_are_measured(scraped: dict[str, dict[str, Metric]]) -> None:
    worker, orchestrator = scraped["agent-worker"], scraped["orchestrator"]
    assert value(worker["syntor_queue_tasks"], queue="worker") == 0
    assert value(worker["syntor_queue_oldest_task_seconds"], queue="worker") == 0
    assert value(orchestrator["syntor_consumer_pending_messages"], consumer="orchestrator-timers") >= 0
    assert value(orchestrator["syntor_consumer_oldest_pending_seconds"], consumer="orchestrator-decisions") >= 0
    assert value(orchestrator["syntor_runs_ended"], status="done") >= 3
    projector = scraped["projector"]
    assert value(projector["syntor_approvals_pending"]) == 0
    assert value(projector["syntor_projection_lag_messages"]) >= 0
    ingress = scraped["ingress"]
    assert value(ingress["syntor_dead_letters"]) == 0
    assert value(ingress["syntor_log_size_bytes"]) > 0


def test_what_waits_shows_its_age(stack: LocalStack, folder: str, wait_for: Callable[..., Any]) -> None:
    with httpx2.Client(base_url=stack.url, timeout=60) as http:
        run_id = run(folder, http, "write something").json()["run_id"]
        wait_for(lambda: http.get(f"/v1/runs/{run_id}/approvals?status=pending").json()["approvals"])

    def oldest() -> float:
        text = dict(scrape(stack))["projector"]
        families = {family.name: family for family in text_string_to_metric_families(text)}
        assert value(families["syntor_approvals_pending"]) == 1
        return value(families["syntor_approvals_oldest_pending_seconds"])

    first = oldest()
    assert first > 0
    assert oldest() > first


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_has_nothing_to_say(stack: LocalStack) -> None:
    for name, text in scrape(stack):
        ours = "\n".join(line for line in text.splitlines() if "syntor_" in line) + "\n"
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=ours, capture_output=True, text=True, check=False, timeout=30
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), name
