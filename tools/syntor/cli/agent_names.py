"""Agents that are registered, as far as a running stack can say."""

from __future__ import annotations

import os

import msgspec

from syntor.cli.http_get import get
from syntor.contracts.decoding import UNDECODABLE
from syntor.stack.layout import home_folder
from syntor.stack.running import running_stack

_TIMEOUT_S = 3.0


class _Profile(msgspec.Struct):
    agent_id: str
    aliases: list[str] = []


class _Agent(msgspec.Struct):
    profile: _Profile


class _Agents(msgspec.Struct):
    agents: list[_Agent]


def registered_agents() -> list[str]:
    """Return the ids of all registered agents; empty when no stack runs or it does not answer."""
    state = running_stack(home_folder(os.environ))
    url = os.environ.get("SYNTOR_URL") or (state.url if state is not None else "")
    if not url:
        return []
    status, body = get(f"{url.rstrip('/')}/v1/agents", _TIMEOUT_S)
    try:
        return (
            [agent.profile.agent_id for agent in msgspec.json.decode(body, type=_Agents).agents]
            if status == 200
            else []
        )
    except UNDECODABLE:
        return []
