"""What looks like a secret is never shown whole."""

from __future__ import annotations

import pytest

from syntor.configuration.secret import masked


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("inference.default_model", "sk-proj-abcdefghijklmnop", "sk-p***"),
        ("inference.default_model", "ghp_abcdefghijklmnopqrst", "ghp_***"),
        ("x.api_key", "short", "***"),
        ("x.api_key", "", ""),
        ("inference.ollama_host", "http://me:hunter2@box:11434", "http://me:***@box:11434"),
        ("inference.openai_compatible.api_key_env", "OPENAI_API_KEY", "OPENAI_API_KEY"),
        ("inference.default_model", "ollama/deepseek-coder-v2:16b", "ollama/deepseek-coder-v2:16b"),
        ("inference.default_model", "0123456789abcdef0123456789abcdef", "0123***"),
    ],
)
def test_masked(name: str, text: str, shown: str) -> None:
    assert masked(name, text) == shown
