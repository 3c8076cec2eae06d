"""The routes, and what every request has in common: origin check, problems, trace headers, access log, metrics."""

from __future__ import annotations

import time

from syntor.contracts.errors import InfrastructureError, SyntorError
from syntor.ingress.access import Access
from syntor.ingress.answers import AnswersFromOutside
from syntor.ingress.errors import ClientGoneError
from syntor.ingress.exchange import Exchange
from syntor.ingress.gateway import Gateway
from syntor.ingress.origin import OriginCheck
from syntor.ingress.pages import docs, openapi, problem_page
from syntor.ingress.parked import DeadLetters
from syntor.ingress.problems import CONTENT_TYPE, problem_answer
from syntor.ingress.queries import Agents, Queries
from syntor.ingress.routing import Route, Router
from syntor.ingress.run_events import RunEvents
from syntor.ingress.runs import Runs
from syntor.ingress.session_changes import SessionChanges
from syntor.metrics import Counter, Histogram
from syntor.runtime.telemetry import get_logger

CLIENT_GONE = 499  # nobody sees this status; it marks the line in the log

_REQUESTS = Counter("syntor_http_requests_total", "Answered requests", ("route", "method", "status"))
_SECONDS = Histogram("syntor_http_request_seconds", "Seconds to the end of the answer", ("route",))
_log = get_logger()


def routes(gateway: Gateway, *, agent_timeout_s: float, max_open_runs: int = 0) -> list[Route]:
    """Return the table of all routes; `openapi.py` describes each."""
    runs = Runs(gateway, agent_timeout_s=agent_timeout_s, max_open=max_open_runs)
    events = RunEvents(gateway)
    queries, agents = Queries(gateway), Agents(gateway)
    parked = DeadLetters(gateway)
    answers, sessions = AnswersFromOutside(gateway), SessionChanges(gateway)
    return [
        ("POST", "/v1/runs", runs.start),
        ("GET", "/v1/runs", queries.runs),
        ("GET", "/v1/runs/{run_id}", queries.run),
        ("GET", "/v1/runs/{run_id}/events", events.of_run),
        ("POST", "/v1/runs/{run_id}/cancel", runs.cancel),
        ("POST", "/v1/runs/{run_id}/retry", runs.retry),
        ("GET", "/v1/runs/{run_id}/approvals", queries.approvals_of_run),
        ("GET", "/v1/runs/{run_id}/approvals/{approval_id}", answers.approval),
        ("POST", "/v1/runs/{run_id}/approvals/{approval_id}", answers.decide),
        ("POST", "/v1/runs/{run_id}/tool_results/{call}", answers.submit),
        ("GET", "/v1/approvals", queries.approvals),
        ("POST", "/internal/invoke", runs.invoke),
        ("GET", "/v1/sessions", queries.sessions),
        ("GET", "/v1/sessions/{session_id}", queries.session),
        ("GET", "/v1/sessions/{session_id}/messages", queries.messages),
        ("POST", "/v1/sessions/{session_id}/fork", sessions.fork),
        ("PUT", "/v1/sessions/{session_id}/tools", sessions.tools),
        ("GET", "/v1/agents", agents.listing),
        ("GET", "/v1/agents/{agent_id}", agents.one),
        ("DELETE", "/v1/agents/{agent_id}", agents.deregister),
        ("POST", "/v1/agents/register", agents.register),
        ("GET", "/v1/usage", queries.usage),
        ("GET", "/v1/events", events.of_everything),
        ("GET", "/v1/dead_letters", parked.listing),
        ("GET", "/v1/dead_letters/{number}", parked.one),
        ("DELETE", "/v1/dead_letters/{number}", parked.drop),
        ("GET", "/openapi.json", openapi),
        ("GET", "/docs", docs),
        ("GET", "/problems/{code}", problem_page),
    ]


class App:
    """Answers requests."""

    def __init__(self, table: list[Route], origin: OriginCheck, access: Access, max_requests: int = 0) -> None:
        self._router = Router(table)
        self._origin = origin
        self._access = access
        self._max_requests = max_requests
        self._serving = 0

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request; errors raised on purpose become problems."""
        began = time.perf_counter()
        route = "unmatched"
        self._serving += 1
        try:
            if 0 < self._max_requests < self._serving:
                raise InfrastructureError(f"{self._max_requests} requests are being served already")
            self._origin.check(exchange)
            handler, route = self._router.find(exchange.method, exchange.path, exchange.parameters)
            self._access.check(exchange, route)
            await handler(exchange)
        except ClientGoneError:
            exchange.status = CLIENT_GONE
        except SyntorError as exc:
            await self._refuse(exchange, exc)
        finally:
            self._serving -= 1
            _record(exchange, route, time.perf_counter() - began)

    @staticmethod
    async def _refuse(exchange: Exchange, error: SyntorError) -> None:
        if isinstance(error, InfrastructureError):
            _log.warning("request_not_served", trace_id=exchange.trace_id, code=error.code, error=str(error))
        answer = problem_answer(error, exchange.path, exchange.trace_id)
        await exchange.answer(answer.status, answer.body, CONTENT_TYPE, answer.headers)


def _record(exchange: Exchange, route: str, duration_s: float) -> None:
    _REQUESTS.labels(route, exchange.method, str(exchange.status)).inc()
    _SECONDS.labels(route).observe(duration_s)
    _log.info(
        "http_request",
        method=exchange.method,
        path=exchange.path,
        status=exchange.status,
        duration_s=round(duration_s, 6),
        trace_id=exchange.trace_id,
        run_id=exchange.run_id or exchange.parameters.get("run_id", ""),
    )
