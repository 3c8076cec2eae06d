"""The most a run may do: no door and no repetition leads above the token's ceiling, or the server's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from syntor.contracts import subjects
from syntor.contracts.http.v1 import Accepted, Invoked
from syntor.contracts.run.v1 import Ceiling, RunFailed, UserInput
from syntor.ingress.api import run_creation
from syntor.ingress.api.table import route_table
from syntor.ingress.gateway import Gateway
from syntor.runtime.tokens import create_token

Start = Callable[..., Awaitable[Any]]


def _bearer(home: Path, ceiling: Ceiling | None) -> dict[str, str]:
    _, text = create_token(home, "ci", ["run", "read"], None, datetime.now(UTC), ceiling)
    return {"Authorization": f"Bearer {text}"}


async def _first(log: Any, run_id: str) -> UserInput:
    recorded = await log.store.last(subjects.event("run", run_id, "user_input"))
    assert recorded is not None
    assert isinstance(recorded.event, UserInput)
    return recorded.event


async def test_what_is_above_is_refused_and_what_is_left_open_is_bound(
    start_ingress: Start, peers: Any, log: Any, tmp_path: Path
) -> None:
    await peers.register("worker")
    allowed, other = tmp_path / "allowed", tmp_path / "other"
    (allowed / "sub").mkdir(parents=True)
    other.mkdir()
    (allowed / "link").symlink_to(other)
    ceiling = Ceiling(max_mode="ask", workspaces=[str(allowed)])
    ingress = await start_ingress(home=str(tmp_path))
    headers = _bearer(tmp_path, ceiling)
    body = {"agent": "worker", "input": "hello"}
    for above, named in (
        ({"permissions": {"mode": "auto-edit"}}, "ask"),
        ({"permissions": {"mode": "auto"}}, "ask"),
        ({"permissions": {"allow": ["bash"]}}, "ask"),
        ({"workspace": str(other)}, str(allowed)),
        ({"workspace": str(allowed / "link")}, str(allowed)),
        ({"workspace": f"{allowed}/../other"}, str(allowed)),
        ({"workspace": f"{allowed}2"}, str(allowed)),
    ):
        refused = await ingress.http.post("/v1/runs", json=body | above, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), above
        assert named in refused.json()["detail"]
    for below in ({}, {"permissions": {"mode": "plan"}}, {"workspace": str(allowed / "sub")}):
        accepted = await ingress.http.post("/v1/runs", json=body | below, headers=headers)
        assert accepted.status_code == 202, accepted.text
        assert (await _first(log, accepted.json()["run_id"])).ceiling == ceiling


async def test_every_operation_that_starts_a_run_applies_the_ceiling(
    start_ingress: Start, peers: Any, log: Any, tmp_path: Path
) -> None:
    await peers.register("worker")
    ingress = await start_ingress(home=str(tmp_path), max_mode="auto-edit")
    free, bound = _bearer(tmp_path, None), _bearer(tmp_path, Ceiling(max_mode="plan"))
    body = {"agent": "worker", "input": "hello"}
    free_run = (await ingress.http.post("/v1/runs", json=body, headers=free)).json()["run_id"]
    bound_run = (await ingress.http.post("/v1/runs", json=body, headers=bound)).json()["run_id"]
    explicit = body | {"permissions": {"mode": "auto-edit"}}
    explicit_run = (await ingress.http.post("/v1/runs", json=explicit, headers=free)).json()["run_id"]
    for run_id in (free_run, bound_run, explicit_run):
        await peers.write(run_id, RunFailed(code="model_error", message="no"), run_id)
    requests: dict[str, tuple[str, Any]] = {
        "startRun": ("/v1/runs", body),
        "retryRun": (f"/v1/runs/{free_run}/retry", {}),
        "invokeAgent": (
            "/internal/invoke",
            {"session_id": "s1", "agent_id": "worker", "input_message": {"role": "user", "content": "x"}},
        ),
    }
    table = route_table(cast("Gateway", None), agent_timeout_s=0.0)
    starting = {each.id for each in table if any(reply.schema in (Accepted, Invoked) for reply in each.replies)}
    assert starting == {*requests, "compactSession"}, "each of these starts a run: test it here"
    for path, given in requests.values():
        started = await ingress.http.post(path, json=given, headers=bound)
        assert started.status_code in (200, 202), started.text
        assert (await _first(log, started.json()["run_id"])).ceiling == Ceiling(max_mode="plan")
    refused = await ingress.http.post(f"/v1/runs/{explicit_run}/retry", json={}, headers=bound)
    assert refused.status_code == 403
    again = await ingress.http.post(f"/v1/runs/{bound_run}/retry", json={}, headers=free)
    assert (await _first(log, again.json()["run_id"])).ceiling == Ceiling(max_mode="plan")
    assert (await _first(log, free_run)).ceiling == Ceiling(max_mode="auto-edit")
    above = await ingress.http.post("/v1/runs", json=body | {"permissions": {"mode": "auto"}})
    assert above.status_code == 403
    assert "auto-edit" in above.json()["detail"]


def test_only_one_module_writes_the_first_event_of_a_run() -> None:
    folder = Path(run_creation.__file__).parent.parent
    found = [path.name for path in folder.rglob("*.py") if "UserInput(" in path.read_text()]
    assert found == ["run_creation.py"]
