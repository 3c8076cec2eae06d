"""Liveness has no dependencies, readiness names what is wrong, metrics are served, malformed requests are dropped."""

import asyncio

from syntor.metrics import Gauge
from syntor.runtime.health import Health


async def _get(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_start_says_what_it_waits_for() -> None:
    health = Health()
    assert (await health.results())["started"] == "not started yet, or stopping"
    health.waits_for = "NATS: nothing at nats://127.0.0.1:1"
    assert (await health.results())["started"] == "waits for NATS: nothing at nats://127.0.0.1:1"

    async def becomes_ready() -> None:
        health.add_check("late", becomes_ready)
        health.set_ready(True)

    health.add_check("first", becomes_ready)
    results = await health.results()  # readiness and checks of the same moment
    assert results["started"] is not None
    assert list(results) == ["started", "first"]
    assert (await health.results())["started"] is None


async def test_the_three_answers() -> None:
    health = Health()
    state: dict[str, str | None] = {"nats": "not connected"}

    async def check() -> str | None:
        return state["nats"]

    health.add_check("nats", check)
    port = await health.serve("127.0.0.1", 0)
    assert b"200 OK" in await _get(port, b"GET /livez HTTP/1.1\r\n\r\n")
    answer = await _get(port, b"GET /readyz HTTP/1.1\r\n\r\n")
    assert b"503" in answer
    assert b"[-] nats: not connected" in answer
    health.set_ready(True)
    state["nats"] = None
    assert (await _get(port, b"GET /readyz HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\nok\n")
    assert b"[+] nats: ok" in await _get(port, b"GET /readyz?verbose HTTP/1.1\r\n\r\n")
    assert b"python_info" in await _get(port, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert b"404" in await _get(port, b"GET /other HTTP/1.1\r\n\r\n")
    assert b"405" in await _get(port, b"POST /livez HTTP/1.1\r\n\r\n")
    assert await _get(port, b"nonsense\r\n\r\n") == b""
    assert b"431" in await _get(port, b"GET /livez HTTP/1.1\r\nA: " + b"x" * 9000)
    await health.close()


async def test_gauges_are_measured_at_the_scrape_and_one_that_fails_hides_no_other() -> None:
    health, measured = Health(), Gauge("test_measured", "Measured at a scrape").labels()

    async def measure() -> None:
        measured.inc()

    async def fail() -> None:
        raise ValueError("no")

    health.add_measurement("a", fail)
    health.add_measurement("b", measure)
    health.add_page("/page", lambda: b"[1]")
    port = await health.serve("127.0.0.1", 0)
    assert b"test_measured 1.0" in await _get(port, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert b"test_measured 2.0" in await _get(port, b"GET /metrics HTTP/1.1\r\n\r\n")
    health.remove_measurement("b")
    assert b"test_measured 2.0" in await _get(port, b"GET /metrics HTTP/1.1\r\n\r\n")
    page = await _get(port, b"GET /page HTTP/1.1\r\n\r\n")
    assert (b"application/json" in page, page.endswith(b"\r\n\r\n[1]")) == (True, True)
    await health.close()
