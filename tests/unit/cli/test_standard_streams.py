"""Whatever standard output is, a command names the cause and ends with a code; it shows no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = [sys.executable, "-m", "syntor.cli.main"]


@pytest.mark.parametrize(
    ("redirection", "cause"), [(">&-", "standard output is closed"), (">/dev/full", "No space left on device")]
)
def test_output_that_cannot_be_written_is_an_error_with_its_cause(redirection: str, cause: str) -> None:
    command = ["sh", "-c", f'"$0" "$@" {redirection}', *MAIN, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"error: {cause}\n")


def test_characters_the_locale_lacks_are_escaped(tmp_path: Path) -> None:
    code = "from syntor.cli.standard_streams import prepare_streams; prepare_streams(); print('a\\u2192b')"
    environ = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True)
    assert done.stdout == "a\\u2192b\n"


def test_a_token_with_typographic_quotes_is_named(tmp_path: Path) -> None:
    environ = os.environ | {"SYNTOR_URL": "http://127.0.0.1:1", "SYNTOR_TOKEN": "“abc”", "SYNTOR_HOME": str(tmp_path)}
    done = subprocess.run([*MAIN, "runs", "list"], capture_output=True, text=True, env=environ, check=False)
    assert (done.returncode, done.stderr) == (
        3,
        "error: SYNTOR_TOKEN holds U+201C, which no token has: copy it without quotes\n",
    )
