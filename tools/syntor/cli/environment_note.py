"""Names `SYNTOR_*` variables that nothing reads: a misspelt one would be ignored in silence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from syntor.contracts.topology import RESERVED_AGENT_NAMES
from syntor.contracts.visible_text import visible

PREFIX = "SYNTOR_"
MODEL_PREFIX = "SYNTOR_MODEL_"
_NAMES = """
    HOME URL TOKEN TLS_CA TLS_CERT TLS_KEY MODE SCRIPT DATABASE_URL DURABILITY ENVIRONMENT INSTANCE LOG_LEVEL LOG_FOLDER
    NATS_URL NATS_PORT NATS_KEYS NATS_USER NATS_CA NATS_CERT NATS_KEY NATS_REPLICAS HEALTH_HOST HEALTH_PORT
    HTTP_HOST HTTP_PORT HTTP_RATE HTTP_HEAD_BYTES HTTP_UNFINISHED HTTP_WRONG_TOKENS HTTP_CONNECTIONS
    INFERENCE_PROVIDER INFERENCE_MODEL OLLAMA_HOST MODEL_MIRROR MODEL_RATE
    MAX_OPEN_RUNS MAX_CONCURRENT_TASKS MAX_CONCURRENT_DECISIONS MAX_LAG MAX_REQUESTS CACHED_RUNS CACHED_SESSIONS
    SHED_ABOVE AGENT_TIMEOUT_S STACK_URL STACK_TOKEN
"""
KNOWN = frozenset(f"{PREFIX}{name}" for name in _NAMES.split())
_ALIKE = 0.75  # of the letters: what is less like a known name may belong to another program


def unread_variables(names: Iterable[str]) -> list[str]:
    """Return a line for each variable that is nearly, but not quite, one that is read."""
    models = {MODEL_PREFIX + name.upper() for name in RESERVED_AGENT_NAMES}
    known = sorted(KNOWN | models)
    lines: list[str] = []
    for name in sorted(names):
        if not name.startswith(PREFIX) or name in known:
            continue
        stem = MODEL_PREFIX if name.startswith(MODEL_PREFIX) else PREFIX
        endings = [each.removeprefix(stem) for each in known if each.startswith(stem)]
        if near := difflib.get_close_matches(name.removeprefix(stem), endings, n=1, cutoff=_cutoff(stem)):
            lines.append(f"{visible(name)} is not read; did you mean {stem}{near[0]}?")
    return lines


def _cutoff(stem: str) -> float:
    return 0.6 if stem == MODEL_PREFIX else _ALIKE  # short names: two letters exchanged are a third of them
