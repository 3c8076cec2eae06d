"""Ids that shell completion offers, from the running stack only: completion starts nothing and waits briefly."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from syntor.cli.credentials import authorization
from syntor.cli.http_get import get
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.visible_text import visible_line
from syntor.stack.layout import home_folder
from syntor.stack.running import running_stack

_TIMEOUT_S = 2.0
_ROWS = 50
_TITLE = 50


def values_for(parameter: str, typed: str) -> dict[str, str]:
    """Return candidates for the value of a parameter, each with its description; empty: none are known.

    Args:
        parameter: name of the option or argument in its command, such as `run_id`.
        typed: its beginning.
    """
    match parameter:
        case "run_id" | "run":
            found = _rows(f"/v1/runs?limit={_ROWS}", "runs", "run_id", "status", "input")
        case "session_id" | "session":
            found = _rows(f"/v1/sessions?limit={_ROWS}", "sessions", "session_id", "agent", "title")
        case "agent" | "agent_id":
            found = _agents()
        case "model":
            from syntor.models.weights import WEIGHTS

            found = {f"embedded/{name}": "" for name in WEIGHTS}
        case _:
            return {}
    return {value: text for value, text in found.items() if value.startswith(typed)}


def _rows(path: str, rows: str, key: str, *described: str) -> dict[str, str]:
    return {
        str(row.get(key, "")): visible_line(" · ".join(str(row.get(name) or "") for name in described), _TITLE)
        for row in _fetched(path).get(rows, [])
    }


def _agents() -> dict[str, str]:
    profiles = [row.get("profile", {}) for row in _fetched("/v1/agents").get("agents", [])]
    return {str(each.get("agent_id", "")): visible_line(str(each.get("description", "")), _TITLE) for each in profiles}


def _fetched(path: str) -> dict[str, Any]:
    state = running_stack(home_folder(os.environ))
    url = os.environ.get("SYNTOR_URL") or (state.url if state is not None else "")
    if not url:
        return {}
    try:
        status, body = get(f"{url.rstrip('/')}{path}", _TIMEOUT_S, authorization(url))
        return msgspec.json.decode(body, type=dict[str, Any]) if status == 200 else {}
    except (ConfigurationError, *UNDECODABLE):
        return {}
