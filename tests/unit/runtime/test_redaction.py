"""Credentials are taken out of what is kept, and nothing else is."""

from __future__ import annotations

import pytest

from syntor.runtime.redaction import MARK, redact

SECRETS = [
    "sk-" + "proj-" + "a1B2" * 10,
    "sk-" + "ant-api03-" + "xY9_" * 12,
    "ghp_" + "a1B2c3" * 6,
    "github_pat_" + "11AAAA" * 8,
    "xoxb-" + "123456789012-abcdef",
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "AIza" + "a" * 35,
    "eyJhbGciOiJIUzI1" + "." + "eyJzdWIiOiIxMjM0" + "." + "SflKxwRJSMeKKF2QT4",
    "syntor_0a1b2c3d_" + "Z" * 43,
    "SU" + "A" * 56,
    "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_has_the_form_of_a_credential_is_taken_out(secret: str) -> None:
    assert redact(f"before {secret} after", {}) == f"before {MARK} after"
    assert redact(f'{{"key":"{secret}"}}', {}) == f'{{"key":"{MARK}"}}'


def test_passwords_of_urls_and_bearer_tokens_are_taken_out() -> None:
    assert redact("postgresql://me:hunter22@db:5432/x", {}) == f"postgresql://{MARK}@db:5432/x"
    assert redact("Authorization: Bearer abcdefgh12345678", {}) == f"Authorization: Bearer {MARK}"


def test_values_of_secret_variables_are_taken_out_wherever_they_are() -> None:
    environ = {
        "OPENAI_API_KEY": "not-a-known-form",
        "DB_PASSWORD": "short",
        "SSH_KEY": "/home/me/.ssh/id",
        "PATH": "/usr/bin:/bin",
    }
    assert redact("x=not-a-known-form;", environ) == f"x={MARK};"
    assert redact("short /home/me/.ssh/id", environ) == "short /home/me/.ssh/id"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "task-runner skates",
        "sk-short",
        "http://host:8420/v1",
        "a@b.example",
        "def key(): return 'sk'",
        "SUM(A2:A7)",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert redact(text, {}) == text
