"""The text `syntor up` prints once everything is ready."""

from __future__ import annotations

from syntor.stack.services import AGENT_PREFIX
from syntor.stack.state import StackState

_DURABILITIES = {
    "durable": "every acknowledged event is on disk",
    "fast": "synced every 100 ms: a power loss may lose the last 100 ms, a crash nothing",
    "external": "as configured on that server",
}


def render(state: StackState, version: str, *, foreground: bool) -> str:
    """Return the banner, ending in a newline."""
    agents = [
        service.name.removeprefix(AGENT_PREFIX) for service in state.services if service.name.startswith(AGENT_PREFIX)
    ]
    rows = [
        ("API", state.url, "OpenAPI /openapi.json"),
        ("NATS", state.nats_url, ""),
        ("Data", state.data, "kept between runs"),
        ("Durability", state.durability, _DURABILITIES.get(state.durability, "")),
        ("Model", state.model, ""),
        ("Agents", " ".join(agents), ""),
    ]
    width = max(len(value) for _, value, note in rows if note)
    lines = [f"Syntor {version} · ready in {state.ready_s:.1f} s", ""]
    lines += [f"  {name:<12} {value:<{width}}   {note}".rstrip() for name, value, note in rows if value]
    lines += [f"  note: {notice}" for notice in state.notices]
    stop = "Ctrl-C" if foreground else "syntor down"
    lines += [
        "",
        f'  Try it:  syntor "what can you do?"{" (in another terminal)" if foreground else ""}',
        f"  Stop it: {stop}",
        "",
    ]
    return "\n".join(lines)
