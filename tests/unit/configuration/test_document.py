"""A configuration file is read with the line of each value, and refused with file, line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.configuration.document import Entry, parse_document, read_document
from syntor.contracts.errors import ConfigurationError


def test_values_carry_their_lines() -> None:
    found = parse_document("inference:\n  provider: ollama\n  auto_pull: no\n", "c.yaml")
    assert found == {"inference.provider": Entry("ollama", 2), "inference.auto_pull": Entry(False, 3)}


def test_an_alias_of_an_agent_is_its_id() -> None:
    assert list(parse_document("inference: {models: {docs: a, code: b}}", "c")) == [
        "inference.models.documentation",
        "inference.models.worker_code",
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "inference:\n", "inference:\n  models:\n"])
def test_nothing_in_a_file_sets_nothing(text: str) -> None:
    assert parse_document(text, "c") == {}


def test_no_file_sets_nothing(tmp_path: Path) -> None:
    assert read_document(tmp_path / "config.yaml") == {}


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbfcli:\r\n  theme: dark\r\n")
    assert read_document(tmp_path / "config.yaml") == {"cli.theme": Entry("dark", 2)}


def test_a_number_where_a_text_is_expected_is_the_text_it_is() -> None:
    assert parse_document("inference: {default_model: 7}", "c")["inference.default_model"].value == "7"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("inference:\n  provider: [unclosed\n", ["c.yaml, line 3"]),
        ("inference:\n  provider: a\n   x: b\n", ["c.yaml, line 3"]),
        ("inference:\n\tprovider: a\n", ["c.yaml, line 2"]),
        ("inference:\n  providr: ollama\n", ["c.yaml, line 2", "inference.providr", "inference.provider"]),
        ("inferense:\n  provider: ollama\n", ["c.yaml, line 1", "inferense"]),
        ("inference:\n  auto_pull: 7\n", ["line 2", "inference.auto_pull", "'7'", "true or false"]),
        ("inference:\n  provider: Öllama\n", ["line 2", "inference.provider", "one of embedded"]),
        ("inference:\n  ollama_host: localhost\n", ["line 2", "localhost", "a URL"]),
        ("inference:\n  models: mistral\n", ["line 2", "inference.models", "mistral"]),
        ("inference:\n  default_model: {a: b}\n", ["line 2", "inference.default_model"]),
        ("inference:\n  fallbacks:\n    git: a\n", ["line 3", "inference.fallbacks.git", "a list"]),
        ("inference:\n  fallbacks:\n    git: &x [*x]\n", ["line 3", "inference.fallbacks.git"]),
        ("inference:\n  models:\n    Git Agent: a\n", ["line 3", "Git Agent"]),
        ("cli:\n  theme: pink\n", ["line 2", "cli.theme", "pink", "dark"]),
        ("cli:\n  theme: dark\n  theme: light\n", ["line 3", "cli.theme", "twice"]),
        ("inference:\n  models:\n    docs: a\n    documentation: b\n", ["line 4", "twice"]),
        ("- a\n- b\n", ["line 1", "the file"]),
        ("just words\n", ["line 1", "the file", "just words"]),
        ("a: 1\n---\nb: 2\n", ["c.yaml, line 2"]),
    ],
)
def test_a_wrong_file_names_file_line_and_reason(text: str, says: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_document(text, "c.yaml")
    for part in ["c.yaml", *says]:
        assert part in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"config\.yaml, line 1: byte 0xff is no UTF-8"):
        read_document(tmp_path / "config.yaml")
