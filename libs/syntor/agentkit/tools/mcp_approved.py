"""Which definitions of an MCP server's tools a person accepted: one file for each server in `<home>/mcp/accepted`.

The first call of a tool of a server that passes the policy accepts all tools the server then has. What changes or is
added later is not used before a person accepted the change.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from syntor.agentkit.domain.mcp_definition import Definition
from syntor.contracts.decoding import UNDECODABLE
from syntor.runtime.private_files import make_private_folder, private

FOLDER = "mcp"
MAX_BYTES = 32 * 1024 * 1024


class _Record(msgspec.Struct):
    address: str
    """Hash of how the server is reached: another program or URL under the name is another server."""
    tools: dict[str, Definition] = {}


class AcceptedTools:
    """The record of one server; read again whenever it changed."""

    def __init__(self, home: Path, server: str, address: str) -> None:
        """Prepare.

        Args:
            address: command and arguments, or URL.
        """
        self._path = home / FOLDER / "accepted" / f"{server}.json"
        self._address = hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()
        self._stamp: tuple[int, int] | None = None
        self._record: _Record | None = None

    def known(self) -> dict[str, Definition] | None:
        """Return the accepted tools by the server's names; None: nothing of this server was accepted yet."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._stamp, self._record = stamp, self._read()
        record = self._record
        return record.tools if record is not None and record.address == self._address else None

    def accept(self, tools: Iterable[Definition]) -> None:
        """Add tools, or replace them.

        Raises:
            OSError: the record could not be written.
        """
        record = _Record(self._address, {**(self.known() or {}), **{tool.name: tool for tool in tools}})
        make_private_folder(self._path.parent.parent)
        make_private_folder(self._path.parent)
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with open(temporary, "wb", opener=private) as file:
            file.write(msgspec.json.encode(record))
        temporary.replace(self._path)

    def forget(self) -> None:
        """Remove the record: the server is as one that was never used."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> _Record | None:
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(MAX_BYTES), type=_Record)
        except (OSError, *UNDECODABLE):  # damaged: nothing counts as accepted, and the next acceptance replaces it
            return _Record("")
