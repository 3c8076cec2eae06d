"""Registered agents of the running stack, read without loading the HTTP client."""

from __future__ import annotations

import os

import msgspec

from syntor.cli.credentials import authorization
from syntor.cli.http_get import get
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.rpc.v1 import AgentList
from syntor.stack.layout import home_folder
from syntor.stack.running import running_stack

_TIMEOUT_S = 3.0


def registered_agents() -> list[str]:
    """Return the ids of all registered agents; empty when no stack runs or it is unreachable."""
    state = running_stack(home_folder(os.environ))
    url = os.environ.get("SYNTOR_URL") or (state.url if state is not None else "")
    if not url:
        return []
    status, body = get(f"{url.rstrip('/')}/v1/agents", _TIMEOUT_S, authorization(url))
    try:
        found = msgspec.json.decode(body, type=AgentList).agents if status == 200 else []
    except UNDECODABLE:
        return []
    return [agent.profile.agent_id for agent in found]
