"""`python -m syntor.models.embedded_server --model NAME --home DIR [--fetch]`: llama.cpp's server on one model.

A process of its own: a crash in native code takes no service down. Writes one JSON status line per step on standard
output; the last says where it listens, with which key. Ends when its parent does.
"""

from __future__ import annotations

import argparse
import importlib
import os
import secrets
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from syntor.contracts.errors import NotFoundError, NotReachableError
from syntor.models.embedded import CONTEXT_TOKENS, StatusLine
from syntor.models.weights import fetch, is_installed, path_of

CACHE_MIB = 256  # llama.cpp keeps up to 8 GiB of prompt caches otherwise
_PARENT_CHECK_S = 1.0
_REPORT_EVERY_S = 0.25


def _report(line: StatusLine) -> None:
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


def _fail(message: str) -> int:
    _report(StatusLine(state="failed", message=message))
    return 1


def _end_with_parent(parent: int) -> None:
    """End this process when its parent is gone: no process could use or stop it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_CHECK_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _fetch(home: Path, model: str) -> Path:
    shown = 0.0

    def report(message: str, done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= _REPORT_EVERY_S or done >= total:
            shown = now
            _report(StatusLine(state="downloading", message=message, done=done, total=total))

    return fetch(home, model, report)


def main() -> int:
    """Fetch the weights with `--fetch`, load them, serve; return the exit code."""
    parser = argparse.ArgumentParser(prog="syntor.models.embedded_server")
    parser.add_argument("--model", required=True)
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--fetch", action="store_true")
    arguments = parser.parse_args()
    _end_with_parent(os.getppid())
    try:
        if not arguments.fetch and not is_installed(arguments.home, arguments.model):
            return _fail(f"{arguments.model} is not installed: syntor models pull {arguments.model}")
        path = _fetch(arguments.home, arguments.model) if arguments.fetch else path_of(arguments.home, arguments.model)
    except (NotFoundError, NotReachableError) as exc:
        return _fail(str(exc))
    return _serve(arguments.model, path)


def _serve(model: str, path: Path) -> int:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # spinning threads would take the cores services need
    try:
        engine: Any = importlib.import_module("xllamacpp")
    except ImportError:
        return _fail('the engine is not installed: pip install "syntor[embedded]"')
    _report(StatusLine(state="loading", message=f"loading {path.stat().st_size / 1e6:,.0f} MB"))
    key = secrets.token_urlsafe(24)
    parameters = engine.CommonParams()
    parameters.model.path = str(path)
    parameters.model_alias = {model}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [key]
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = 1
    parameters.cache_ram_mib = CACHE_MIB
    parameters.cpuparams.n_threads = os.cpu_count() or 2
    parameters.sampling.temp = 0.0
    parameters.use_jinja = True
    parameters.endpoint_metrics = True
    parameters.chat_template = (Path(__file__).parent / "tools_template.jinja").read_text(encoding="utf-8")
    try:
        server = engine.Server(parameters)
    except RuntimeError as exc:
        return _fail(f"llama.cpp could not load {path}: {exc}")
    _report(StatusLine(state="ready", url=f"{server.listening_address}/v1", api_key=key))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)  # the native server has threads that do not end in order; nothing is to be saved


if __name__ == "__main__":
    sys.exit(main())
