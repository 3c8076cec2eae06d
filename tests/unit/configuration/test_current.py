"""A service sees a changed configuration without a restart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syntor.configuration import ConfigurationFile
from syntor.contracts.errors import ConfigurationError


def test_the_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    file = ConfigurationFile(tmp_path, {})
    first = file.current()
    assert file.current() is first
    (tmp_path / "config.yaml").write_text("inference: {provider: ollama}\n")
    second = file.current()
    assert second.inference.provider == "ollama"
    assert file.current() is second
    os.utime(tmp_path / "config.yaml", ns=(1, 1))
    assert file.current() is not second


def test_a_file_gone_wrong_is_refused_until_it_is_put_right(tmp_path: Path) -> None:
    file = ConfigurationFile(tmp_path, {})
    (tmp_path / "config.yaml").write_text("inference: [")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"config\.yaml, line"):
            file.current()
    (tmp_path / "config.yaml").unlink()
    assert file.current().inference.provider == "embedded"
