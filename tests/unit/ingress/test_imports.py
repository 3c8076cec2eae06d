"""The ingress loads little: every process of the stack counts against one memory budget."""

from __future__ import annotations

import subprocess
import sys

FORBIDDEN = [
    *("rich", "typer", "prompt_toolkit", "pydantic", "httpx", "httpx2", "litellm", "fastapi", "aiohttp", "jinja2"),
    *("starlette.templating", "starlette.testclient", "starlette.staticfiles", "starlette.middleware.base"),
]


def test_no_heavy_library_is_loaded() -> None:
    code = "import sys, syntor.ingress.__main__; print([m for m in sys.argv[1:] if sys.modules.get(m) is not None])"
    done = subprocess.run([sys.executable, "-c", code, *FORBIDDEN], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
