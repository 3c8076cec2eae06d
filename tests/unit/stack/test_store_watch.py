"""A server that does not write its store any more is restarted as soon as the disk takes data, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.stack import store_watch
from syntor.stack.store_watch import StoreWatch

REFUSED = "[1] [ERR] JetStream failed to store a msg on stream '$G > SYNTOR_EVENTS': write 1.blk: {}\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    log = tmp_path / "nats.log"
    log.write_text(REFUSED.format("no space left on device"))
    return log


def _append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


@pytest.mark.parametrize("cause", ["no space left on device", "read-only file system", "disk quota exceeded"])
def test_each_refusal_counts_once(log: Path, tmp_path: Path, cause: str) -> None:
    watch = StoreWatch(log, tmp_path)
    assert not watch.needs_restart()  # what was logged before belongs to an earlier server
    _append(log, "[1] [INF] Server is ready\n")
    assert not watch.needs_restart()
    _append(log, REFUSED.format(cause))
    assert watch.needs_restart()
    assert not watch.needs_restart()
    assert not (tmp_path / ".writable").exists()


def test_nothing_is_restarted_while_the_disk_is_full_or_read_only(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = StoreWatch(log, tmp_path)
    _append(log, REFUSED.format("no space left on device"))
    with monkeypatch.context() as changed:
        changed.setattr(store_watch, "MIN_FREE_BYTES", 1 << 62)
        assert not watch.needs_restart()
    absent = StoreWatch(log, tmp_path / "absent")
    _append(log, REFUSED.format("no space left on device"))
    assert not absent.needs_restart()
    _append(log, REFUSED.format("no space left on device"))  # the server is asked to write again and refuses again
    assert watch.needs_restart()


def test_a_rotated_log_is_read_from_its_start(log: Path, tmp_path: Path) -> None:
    _append(log, "x" * 4096)
    watch = StoreWatch(log, tmp_path)
    log.write_text(REFUSED.format("no space left on device"))
    assert watch.needs_restart()
    log.unlink()
    assert not watch.needs_restart()
