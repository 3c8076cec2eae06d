"""A file of the log that changed while nothing wrote to it is found, with its positions; messages are not touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.stack import seal
from syntor.stack.block_file import first_position, positions_in
from syntor.testing.block_files import record

STREAM = Path("jetstream") / "$G" / "streams" / "SYNTOR_EVENTS"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A sealed store with two files of messages, an index, and the state of a consumer."""
    messages, consumer = tmp_path / STREAM / "msgs", tmp_path / STREAM / "obs" / "worker"
    messages.mkdir(parents=True)
    consumer.mkdir(parents=True)
    (messages / "1.blk").write_bytes(b"".join(record(number, bytes(1000)) for number in range(1, 41)))
    (messages / "2.blk").write_bytes(b"".join(record(number, bytes(1000)) for number in range(41, 50)))
    (messages / "index.db").write_bytes(bytes(300))
    (consumer / "o.dat").write_bytes(b"state")
    seal.write(tmp_path)
    return tmp_path


def flip(path: Path, offset: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(bytes(content))


def test_an_unchanged_store_matches_its_seal_and_one_without_a_seal_says_so(store: Path) -> None:
    assert seal.changed(store) == []
    seal.remove(store)
    assert seal.changed(store) is None


@pytest.mark.parametrize("offset", [0, 3, 5, 14, 30, 500, 1058, 1059, 9000, 40 * 1059 - 1])
def test_a_flipped_bit_in_messages_is_found_with_a_range_that_has_its_position(store: Path, offset: int) -> None:
    flip(store / STREAM / "msgs" / "1.blk", offset, 3)
    changed = seal.changed(store)
    assert changed is not None
    [found] = changed
    assert not found.file.is_restorable
    numbers = [int(word) for word in found.detail.rpartition("SYNTOR_EVENTS")[2].split() if word.isdecimal()]
    assert numbers[0] <= offset // 1059 + 1 <= numbers[-1], found.text
    assert numbers[-1] <= 40


def test_what_the_server_keeps_about_consumers_is_restored_and_its_index_removed(store: Path) -> None:
    flip(store / STREAM / "obs" / "worker" / "o.dat", 2)
    flip(store / STREAM / "msgs" / "index.db", 7)
    changed = seal.changed(store)
    assert changed is not None
    assert [each.file.is_restorable for each in changed] == [True, True]
    seal.restore(store, changed)
    assert (store / STREAM / "obs" / "worker" / "o.dat").read_bytes() == b"state"
    assert not (store / STREAM / "msgs" / "index.db").exists()


def test_a_missing_or_cut_file_is_found(store: Path) -> None:
    cut = store / STREAM / "msgs" / "2.blk"
    cut.write_bytes(cut.read_bytes()[:-100])
    (store / STREAM / "msgs" / "1.blk").unlink()
    changed = seal.changed(store)
    assert changed is not None
    assert [each.detail for each in changed] == ["is missing", "has 9431 bytes, had 9531"]
    assert not any(each.file.is_restorable for each in changed)


def test_a_flipped_bit_in_the_seal_itself_is_no_reason_to_trust_or_to_refuse_the_files(store: Path) -> None:
    (store / seal.NAME).write_bytes(b"{")
    changed = seal.changed(store)
    assert changed is not None
    assert changed[0].file.path == seal.NAME
    assert changed[0].file.is_restorable
    seal.restore(store, changed)
    assert seal.changed(store) is None


def test_the_first_position_of_a_compressed_file_is_read_from_its_beginning() -> None:
    # the beginning of a file of nats-server 2.15, and of one whose second element is a copy
    compressed = bytes.fromhex(
        "636d7001c1f9ff03ff0600005332735477 4f00dab101ba3edb3880804014c40300800100 0901f097771b4b1c5ad3eb18".replace(
            " ", ""
        )
    )
    assert first_position(compressed) == 1
    assert first_position(record(77, b"x")) == 77
    assert first_position(b"") == 0
    assert first_position(b"cmp\x01nonsense") == 0


def test_positions_behind_a_damaged_length_are_left_open() -> None:
    content = bytearray(record(5, bytes(100)) + record(6, bytes(100)) + record(7, bytes(100)))
    size = len(record(5, bytes(100)))
    assert positions_in(bytes(content), size + 20, size + 21) == (6, 6)
    content[size + 3] ^= 0x40  # the length of the second record
    assert positions_in(bytes(content), size, size + 4) == (6, 0)
