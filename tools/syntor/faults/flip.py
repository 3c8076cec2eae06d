"""Pure record of one flipped bit."""

from __future__ import annotations

import msgspec


class Flip(msgspec.Struct, frozen=True):
    """One bit of one file."""

    path: str
    """Relative to the store."""
    offset: int
    bit: int

    @property
    def kind(self) -> str:
        """Which file of which stream it is, without a consumer's name and a file's number."""
        parts = self.path.split("/")
        stream = parts[3] if len(parts) > 3 else ""
        name = "*.blk" if parts[-1].endswith(".blk") else parts[-1]
        return f"{stream}/{'consumer ' if 'obs' in parts else ''}{name}"
