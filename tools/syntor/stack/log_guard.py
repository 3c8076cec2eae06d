"""Guards the files of the log around the life of nats-server: sealed after its stop, compared before its start.

A log that was stopped in order is compared with its seal; of one that was not, the last files of messages are copied,
and compared with what the server has once it is ready, before anything can be appended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import ConfigurationError, NotReachableError
from syntor.stack import probe, seal, unsealed
from syntor.stack.port import LOOPBACK
from syntor.stack.unsealed import LastFile

_TIMEOUT_S = 10.0


class _State(msgspec.Struct):
    last_seq: int


class _Stream(msgspec.Struct):
    name: str
    state: _State


class _Account(msgspec.Struct):
    stream_detail: list[_Stream] = []


class _Streams(msgspec.Struct):
    """Response of `/jsz`."""

    account_details: list[_Account] = []


class LogGuard:
    """Guards the store of one nats-server."""

    def __init__(self, store: Path, log: Callable[[str], None]) -> None:
        self._store = store
        self._log = log
        self._copied: list[LastFile] = []
        self._damaged = False

    @property
    def compares(self) -> bool:
        """Whether `compare` must be called once the server is ready, before anything appends."""
        return bool(self._copied)

    async def open(self) -> list[str]:
        """Check the files before the server starts, and restore what can be restored; return what was restored.

        Raises:
            ConfigurationError: messages are damaged.
        """
        accepted = unsealed.is_accepted(self._store)
        if reason := unsealed.marked(self._store):
            self._damaged = True
            raise ConfigurationError(reason)
        changed = await asyncio.to_thread(seal.changed, self._store)
        if changed is None:
            if not accepted:
                await self._copy()
            return []
        lost = [each.text for each in changed if not each.file.is_restorable]
        if lost:
            self._damaged = True
            raise ConfigurationError(seal.damaged_store(self._store, lost))
        seal.restore(self._store, changed)
        seal.remove(self._store)
        return [f"{each.text}, while the stack was stopped; restored" for each in changed]

    async def compare(self, monitor_port: int, stop: Callable[[], Any]) -> None:
        """Compare what the server has with the files it was started on; where it has less, put them back.

        Args:
            stop: stops the server.

        Raises:
            ConfigurationError: it cut messages off.
            NotReachableError: it does not say what it has.
        """
        if damage := unsealed.cut_off(self._copied, await _last_positions(monitor_port)):
            await stop()
            await asyncio.to_thread(unsealed.put_back, self._store, self._copied)
            self._refuse(damage)
        unsealed.discard(self._store)
        self._copied = []

    async def close(self) -> None:
        """Seal the files: the server has stopped, and nothing writes to them any more."""
        if self._damaged:
            return
        try:
            await asyncio.to_thread(seal.write, self._store)
        except OSError as exc:
            self._log(f"the log was not sealed: {exc.strerror}; the next start does not check its files")

    async def _copy(self) -> None:
        await asyncio.to_thread(unsealed.recover, self._store)
        files = await asyncio.to_thread(unsealed.last_files, self._store)
        if damage := unsealed.broken(files):
            self._refuse(damage)
        try:
            await asyncio.to_thread(unsealed.copy, self._store, files)
        except OSError as exc:
            unsealed.discard(self._store)
            self._log(f"the log was not stopped in order, and its last messages are not compared: {exc.strerror}")
        else:
            self._copied = files

    def _refuse(self, damage: list[str]) -> None:
        self._damaged = True
        unsealed.mark(self._store, damage)
        raise ConfigurationError(unsealed.marked(self._store))


async def _last_positions(monitor_port: int) -> dict[str, int]:
    """Return the last position of each stream, from the monitoring endpoint of the server."""
    answer = await probe.get(LOOPBACK, monitor_port, "/jsz?accounts=true&streams=true", _TIMEOUT_S)
    try:
        found = msgspec.json.decode(answer.body, type=_Streams)
        return {each.name: each.state.last_seq for one in found.account_details for each in one.stream_detail}
    except UNDECODABLE as exc:
        raise NotReachableError(
            f"nats-server does not say which messages it has: {answer.status} {answer.body[:200]}"
        ) from exc
