"""The route table: the operations of all resources.

`python -m syntor.ingress.api.table` prints the OpenAPI document.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, cast

import msgspec

from syntor.contracts.ceiling import NO_CEILING
from syntor.contracts.run.v1 import Ceiling
from syntor.ingress.api.about import AboutRoutes
from syntor.ingress.api.agents import AgentRoutes
from syntor.ingress.api.approvals import ApprovalRoutes
from syntor.ingress.api.client_tools import ClientToolRoutes
from syntor.ingress.api.dead_letters import DeadLetterRoutes
from syntor.ingress.api.events import EventRoutes
from syntor.ingress.api.questions import QuestionRoutes
from syntor.ingress.api.rewinds import RewindRoutes
from syntor.ingress.api.run_creation import RunCreation
from syntor.ingress.api.run_queries import RunQueries
from syntor.ingress.api.runs import RunRoutes
from syntor.ingress.api.sessions import SessionRoutes
from syntor.ingress.api.usage import UsageRoutes
from syntor.ingress.gateway import Gateway
from syntor.ingress.http.openapi import build_document
from syntor.ingress.http.operation import Operation


def route_table(
    gateway: Gateway, *, agent_timeout_s: float, max_open_runs: int = 0, ceiling: Ceiling = NO_CEILING
) -> list[Operation]:
    """Return the operations of the API, frequent ones first; of two that match a request the first one counts."""

    @cache
    def document() -> dict[str, Any]:
        return build_document(table)

    creation = RunCreation(gateway, agent_timeout_s=agent_timeout_s, max_open=max_open_runs, ceiling=ceiling)
    table = [
        *RunQueries(gateway).operations(),
        *EventRoutes(gateway).operations(),
        *RunRoutes(gateway, creation).operations(),
        *ApprovalRoutes(gateway).operations(),
        *QuestionRoutes(gateway).operations(),
        *ClientToolRoutes(gateway).operations(),
        *SessionRoutes(gateway, creation).operations(),
        *RewindRoutes(gateway).operations(),
        *AgentRoutes(gateway).operations(),
        *UsageRoutes(gateway).operations(),
        *DeadLetterRoutes(gateway).operations(),
        *AboutRoutes(document).operations(),
    ]
    return table


def main() -> None:
    """Print the OpenAPI document; nothing is served, so there is no gateway."""
    table = route_table(cast("Gateway", None), agent_timeout_s=0.0)
    document = msgspec.json.encode(build_document(table))
    sys.stdout.buffer.write(msgspec.json.format(document, indent=2) + b"\n")


if __name__ == "__main__":
    main()
