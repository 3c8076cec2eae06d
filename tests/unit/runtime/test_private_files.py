"""What is written in a home folder is its owner's alone, whatever the umask was or the modes were."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syntor.configuration.editing import set_value
from syntor.configuration.trust import Trust, remember
from syntor.projections.sqlite import SqliteStore
from syntor.projector.domain.read_model import ReadModel
from syntor.runtime.private_files import make_private_folder, private, shared_paths, tighten
from syntor.runtime.tokens import create_token
from syntor.stack.layout import Layout
from syntor.stack.log_file import open_log, rotate


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Under a mask that takes no right away."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Return the permissions of everything in a folder."""
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}


async def test_everything_written_in_a_home_is_its_owners_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    set_value(home / "config.yaml", "cli.theme", "dark")
    remember(home, tmp_path, Trust.TRUSTED)
    create_token(home, "ci", ["run"], None, datetime.now(UTC))
    layout = Layout(home)
    layout.create()
    os.close(open_log(layout.log_of("ingress")))
    layout.log_of("ingress").write_text("x" * 100)
    rotate(layout.log_of("ingress"), 10)
    store = SqliteStore(str(layout.database))
    await store.open(ReadModel())
    found = modes(home)
    await store.close()
    assert {"config.yaml", "trusted.yaml", "tokens.json", "data/readmodel.db", "data/readmodel.db-wal"} <= set(found)
    assert {mode for name, mode in found.items() if (home / name).is_dir()} == {0o700}
    assert {name: oct(mode) for name, mode in found.items() if not (home / name).is_dir() and mode != 0o600} == {}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_home_that_others_may_read_is_tightened_and_said(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home")
    layout.create()
    assert layout.tighten() == ""
    layout.home.chmod(0o755)
    layout.config.write_text("cli: {}\n")
    (layout.home / "notes").write_text("the user's own\n")
    store = layout.nats_store / "blocks"
    store.mkdir()
    (store / "1.blk").write_text("event")
    (layout.run / "link").symlink_to(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in layout.open_to_others()] == [
        "home",
        "home/config.yaml",
        "home/data/nats/blocks",
        "home/data/nats/blocks/1.blk",
    ]
    assert layout.tighten() == f"other accounts could read {layout.home} and 3 more; now only you can"
    assert layout.open_to_others() == []
    assert stat.S_IMODE((layout.home / "notes").stat().st_mode) == 0o666
    assert stat.S_IMODE(tmp_path.stat().st_mode) & 0o077 == 0


def test_a_folder_that_everybody_uses_is_not_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    layout = Layout(tmp_path)
    layout.create()
    layout.logs.chmod(0o755)
    layout.tighten()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
    assert stat.S_IMODE(layout.logs.stat().st_mode) == 0o700


def test_a_private_file_is_readable_by_its_owner_under_any_umask(tmp_path: Path) -> None:
    os.umask(0o777)
    make_private_folder(tmp_path / "a")
    with open(tmp_path / "a" / "file", "w", opener=private) as file:
        file.write("x")
    assert modes(tmp_path) == {"a": 0o700, "a/file": 0o600}


def test_what_is_gone_or_not_ours_is_skipped(tmp_path: Path) -> None:
    assert shared_paths([tmp_path / "none"]) == []
    assert tighten([tmp_path / "none"]) == []
