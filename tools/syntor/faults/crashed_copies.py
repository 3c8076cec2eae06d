"""Copies of the store that a killed nats-server leaves, each with one flipped bit, and what became of them."""

from __future__ import annotations

import asyncio
import random
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

from syntor.faults.bit_flips import choose
from syntor.faults.crashed_store import MISSED, try_flip
from syntor.projections.database import open_store
from syntor.projections.store import Checkpoint
from syntor.projector.domain.read_model import ReadModel
from syntor.stack.layout import Layout

_EXIT_S = 10.0


class CrashedCopies:
    """Copies and judges the store of a stack; the stack itself continues undamaged."""

    def __init__(self, home: Path, database_url: str, folder: Path) -> None:
        """Prepare.

        Args:
            folder: for the copies.
        """
        self._store = Layout(home).nats_store
        self._database_url = database_url or f"sqlite:///{Layout(home).database}"
        self._folder = folder
        self._read = Checkpoint()
        self.verdicts: Counter[str] = Counter()
        """Flips by what became of them."""
        self.missed: list[str] = []
        """Violations."""

    def take(self, pid: int) -> None:
        """Copy the store of a server that was killed, and note what the read model has read of it.

        Args:
            pid: of the server, which may not be gone yet.

        Raises:
            TimeoutError: it does not end.
        """
        deadline = time.monotonic() + _EXIT_S
        while not _is_gone(pid):
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {pid} does not end after SIGKILL")
            threading.Event().wait(0.002)
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._store, self._folder / "store")
        self._read = asyncio.run(self._checkpoint())

    def flip(self, seed: int) -> None:
        """Flip a bit of the copy that a seed chooses, and judge what shows of it."""
        [flip] = choose(self._folder / "store", 1, random.Random(seed), of_each_kind=False)
        verdict = try_flip(self._folder / "store", flip, self._read, self._folder / "flip")
        self.verdicts[verdict.what] += 1
        if verdict.what == MISSED:
            self.missed.append(f"flip of bit {flip.bit} of byte {flip.offset} in {flip.path}: {verdict.detail}")

    async def _checkpoint(self) -> Checkpoint:
        store = open_store(self._database_url)
        await store.open(ReadModel())
        try:
            return await store.checkpoint()
        finally:
            await store.close()


def _is_gone(pid: int) -> bool:
    """Return whether a process has ended; its parent is stopped, so that it remains as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
