"""Log growth of a run with 1,000 tool calls and a conversation of 200,000 tokens; the baseline is its unique content.

Unique content counts each text once: the input, texts and tool calls of the model, results of tools. The size on disk
is measured on full blocks: the server compresses a block when it begins the next one.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import yaml

from syntor.contracts.topology import EVENTS
from syntor.jetstream.admin import stream_state
from syntor.jetstream.connection import connect
from syntor.testing.local_stack import LocalStack, headers_of

ROUNDS, CALLS = 25, 40
REPEATS = 4  # further runs, so that several blocks are full
BLOCK_BYTES = 8 * 1024 * 1024  # of a stream without limits
FILE_CHARACTERS = 800  # about 200 tokens a file
DEADLINE_S = 600.0
TARGET_GROWTH = 1.2


def main() -> None:
    """Run it, and compare the growth of the log with the unique content."""
    with tempfile.TemporaryDirectory(prefix="syntor-bench-") as folder:
        workspace = Path(folder) / "work"
        workspace.mkdir()
        _fill(workspace)
        with LocalStack(Path(folder) / "home", script=yaml.safe_dump({"rules": _rules()}, sort_keys=False)) as stack:
            before = asyncio.run(_size(stack))
            began = time.perf_counter()
            run_id = _start(stack.url, workspace)
            run = _wait(stack.url, run_id)
            seconds = time.perf_counter() - began
            grown = asyncio.run(_size(stack)) - before
            events = _events(stack.url, run_id)
            for _ in range(REPEATS):
                stack.script.write_text(stack.script.read_text())  # resets the counters of its rules
                _wait(stack.url, _start(stack.url, workspace))
            compression = _disk(Path(folder)) / asyncio.run(_size(stack))
    _report(run, events, seconds, grown, compression)


def _report(run: dict[str, Any], events: list[dict[str, Any]], seconds: float, grown: int, compression: float) -> None:
    unique = sum(_unique(event) for event in events)
    data = sum(len(msgspec.json.encode(event.get("data") or {})) for event in events)
    tokens = sum(
        event["data"]["usage"].get("input_tokens", 0) for event in events[-40:] if event["type"] == "llm_call_done"
    )
    print(f"{run['status']} in {seconds:.1f} s: {run['tool_calls']} tool calls, {run['llm_calls']} model calls")
    disk = grown * compression
    print(f"last prompt      {tokens:10d} words (the scripted model counts words, about 1.5 tokens each)")
    print(f"baseline         {unique:10d} bytes of unique content")
    print(f"on disk          {disk:10.0f} bytes, ratio {disk / unique:.2f} (target {TARGET_GROWTH})")
    print(f"uncompressed     {grown:10d} bytes, ratio {grown / unique:.2f}, with {len(events)} envelopes and headers")
    print(f"event data       {data:10d} bytes, ratio {data / unique:.2f}")


def _unique(event: dict[str, Any]) -> int:
    data: dict[str, Any] = event.get("data") or {}
    match event["type"]:
        case "user_input":
            return len(data["content"].encode())
        case "llm_call_done":
            calls = sum(len(call["name"]) + len(call.get("arguments", "")) for call in data.get("tool_calls", []))
            return len(data.get("text", "").encode()) + calls
        case "tool_result":
            return len(data["content"].encode())
        case _:
            return 0


def _fill(workspace: Path) -> None:
    """Write files with distinct content: pieces of the standard library's source."""
    sources = sorted(Path(asyncio.__file__).parent.parent.glob("*.py"))
    text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in sources)
    for number in range(ROUNDS * CALLS):
        piece = text[number * FILE_CHARACTERS : (number + 1) * FILE_CHARACTERS]
        (workspace / f"f{number}.txt").write_text(piece)


def _disk(folder: Path) -> float:
    """Return the bytes the log would take on disk if its last block were full as the others are."""
    blocks = sorted(folder.glob("home/data/**/SYNTOR_EVENTS/msgs/*.blk"), key=lambda path: int(path.stem))
    full = [path.stat().st_size for path in blocks[:-1]]
    if not full:
        raise RuntimeError("no block is full yet")
    return sum(full) * (1 + blocks[-1].stat().st_size / BLOCK_BYTES / len(full))


def _rules() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = []
    for turn in range(ROUNDS):
        calls = [
            {"name": "read_file", "arguments": {"path": f"f{turn * CALLS + number}.txt"}} for number in range(CALLS)
        ]
        rules.append(
            {"times": 1, "text": f"Round {turn}.", "tool_calls": calls} | ({"tool_result": "."} if turn else {})
        )
    return [*rules, {"tool_result": ".", "text": "All read."}]


def _start(url: str, workspace: Path) -> str:
    body = {"agent": "worker", "input": "read everything", "workspace": str(workspace), "timeout_s": DEADLINE_S}
    run_id: str = httpx2.post(f"{url}/v1/runs", json=body, headers=headers_of(url)).json()["run_id"]
    return run_id


def _wait(url: str, run_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        run: dict[str, Any] = httpx2.get(f"{url}/v1/runs/{run_id}", timeout=30).json()
        if run["ended_at"]:
            return run
        time.sleep(0.2)
    raise TimeoutError(f"run {run_id} did not end within {DEADLINE_S:g} s")


def _events(url: str, run_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = httpx2.get(f"{url}/v1/runs/{run_id}/events", params={"after": after, "limit": 1000}, timeout=60).json()
        found += page["events"]
        after = page["next_after"]
    return found


async def _size(stack: LocalStack) -> int:
    connection = await connect(stack.nats_url, "syntor/bench", access=stack.admin)
    try:
        return (await stream_state(connection, EVENTS)).bytes
    finally:
        await connection.close()


if __name__ == "__main__":
    main()
