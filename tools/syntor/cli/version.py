"""The version of this program, for commands."""

from syntor.runtime.version import VERSION

__all__ = ["VERSION"]
