"""The key of the local user is made once, for this account only, and no other file counts."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from syntor.contracts.errors import ConfigurationError
from syntor.runtime import local_key
from syntor.runtime.local_key import ensure_key, read_key
from syntor.runtime.redaction import MARK, redact


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert read_key(home) == ""
    mask = os.umask(0)
    try:
        key = ensure_key(home)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((home / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert ensure_key(home) == read_key(home) == key
    assert [each.name for each in home.iterdir()] == ["key"]
    assert len(key.split("_", 2)[2]) == 43  # 256 bits
    assert redact(f"Authorization: Bearer {key}") == f"Authorization: Bearer {MARK}"
    assert redact(f"key={key}") == f"key={MARK}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_may_use_is_refused_with_the_fix(tmp_path: Path, mode: int) -> None:
    ensure_key(tmp_path)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigurationError, match=rf"has mode {mode:04o}.* rm {tmp_path}/key"):
        ensure_key(tmp_path)


def test_a_link_a_folder_and_another_file_are_no_key(tmp_path: Path) -> None:
    other = tmp_path / "other"
    ensure_key(other)
    (tmp_path / "key").symlink_to(other / "key")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        ensure_key(tmp_path)
    (tmp_path / "key").unlink()
    (tmp_path / "key").mkdir()
    with pytest.raises(ConfigurationError, match="no regular file"):
        ensure_key(tmp_path)
    (tmp_path / "key").rmdir()
    os.mkfifo(tmp_path / "key", 0o600)
    with pytest.raises(ConfigurationError, match="no regular file"):
        ensure_key(tmp_path)
    (tmp_path / "key").unlink()
    (tmp_path / "key").write_text("Bearer x")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(ConfigurationError, match="holds no key"):
        ensure_key(tmp_path)


def test_a_key_of_another_account_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_key(tmp_path)
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.raises(ConfigurationError, match=f"belongs to uid {own}"):
        read_key(tmp_path)


def test_of_two_that_make_a_key_at_the_same_moment_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, made = os.link, list[str]()

    def late(source: Any, target: Any) -> None:
        if not made:
            made.append("")
            made.append(local_key._make(tmp_path))
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert ensure_key(tmp_path) == made[1] == read_key(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
