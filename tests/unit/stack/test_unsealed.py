"""What nats-server cuts off when it starts after a crash is noticed, and put back; a torn last record is no damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.stack import unsealed
from syntor.stack.block_file import Extent, extent
from syntor.stack.unsealed import LastFile
from syntor.testing.block_files import record

STREAM = Path("jetstream") / "$G" / "streams" / "SYNTOR_EVENTS"
RECORD = len(record(1, bytes(1000)))
CONTENT = b"".join(record(number, bytes(1000)) for number in range(41, 50))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store without a seal."""
    messages = tmp_path / STREAM / "msgs"
    messages.mkdir(parents=True)
    (messages / "9.blk").write_bytes(record(1, b""))
    (messages / "10.blk").write_bytes(CONTENT)
    (messages / "index.db").write_bytes(bytes(300))
    return tmp_path


def test_the_records_of_a_file_say_how_far_it_reaches() -> None:
    assert extent(CONTENT) == Extent(49)
    assert extent(b"") == Extent(0)
    tombstone = bytearray(record(50, b""))
    tombstone[4:12] = (44 | 1 << 62).to_bytes(8, "little")
    assert extent(CONTENT + tombstone) == Extent(49)


@pytest.mark.parametrize("torn", [1, 11, 12, 500])
def test_a_record_that_a_crash_left_incomplete_is_no_damage(torn: int) -> None:
    assert extent(CONTENT + record(50, bytes(1000))[:torn]) == Extent(49)
    assert extent(CONTENT + bytes(torn)) == Extent(49)


@pytest.mark.parametrize("bit", range(31))
def test_a_flipped_length_is_noticed_as_records_follow_or_as_the_server_cuts_them_off(bit: int) -> None:
    content = bytearray(CONTENT)
    content[2 * RECORD + bit // 8] ^= 1 << bit % 8
    found = extent(bytes(content))
    assert found.broken in (43, 44) or found.last > 42  # the server keeps 42


def test_the_last_file_of_a_stream_is_the_one_with_the_highest_number(store: Path) -> None:
    assert unsealed.last_files(store) == [LastFile("SYNTOR_EVENTS", str(STREAM / "msgs" / "10.blk"), 49, 0)]


def test_what_the_server_cut_off_is_named_and_put_back(store: Path) -> None:
    files = unsealed.last_files(store)
    unsealed.copy(store, files)
    block = store / STREAM / "msgs" / "10.blk"
    block.write_bytes(CONTENT[: 3 * RECORD])  # as the server does where a checksum does not fit
    assert unsealed.cut_off(files, {"SYNTOR_EVENTS": 49}) == []
    assert unsealed.cut_off(files, {"SYNTOR_EVENTS": 60}) == []
    assert unsealed.cut_off(files, {}) == []
    [text] = unsealed.cut_off(files, {"SYNTOR_EVENTS": 43})
    assert "SYNTOR_EVENTS position 44; up to 49" in text
    unsealed.put_back(store, files)
    assert block.read_bytes() == CONTENT
    assert not (block.parent / "index.db").exists()
    assert sorted(path.name for path in store.iterdir()) == ["jetstream"]


def test_a_start_that_ended_before_it_compared_is_recovered(store: Path) -> None:
    unsealed.copy(store, unsealed.last_files(store))
    block = store / STREAM / "msgs" / "10.blk"
    block.write_bytes(CONTENT[:RECORD])
    unsealed.recover(store)
    assert block.read_bytes() == CONTENT


def test_copies_of_a_log_that_went_on_are_discarded(store: Path) -> None:
    unsealed.copy(store, unsealed.last_files(store))
    block = store / STREAM / "msgs" / "10.blk"
    for content in (CONTENT + record(50, b""), b"cmp" + CONTENT[:100]):
        block.write_bytes(content)
        unsealed.recover(store)
        assert block.read_bytes() == content


def test_a_flipped_sequence_reaches_too_far_or_is_cut_off(store: Path) -> None:
    block = store / STREAM / "msgs" / "10.blk"
    content = bytearray(CONTENT)
    content[4 * RECORD + 4] ^= 1 << 6
    block.write_bytes(content)
    [found] = unsealed.last_files(store)
    assert found.last > 49


def test_a_start_is_refused_until_a_person_decides(store: Path) -> None:
    assert unsealed.marked(store) == ""
    assert not unsealed.is_accepted(store)
    unsealed.mark(store, ["10.blk: SYNTOR_EVENTS position 44"])
    assert "SYNTOR_EVENTS position 44" in unsealed.marked(store)
    (store / unsealed.DAMAGED).rename(store / unsealed.ACCEPTED)
    assert unsealed.marked(store) == ""
    assert unsealed.is_accepted(store)
    assert not unsealed.is_accepted(store)
