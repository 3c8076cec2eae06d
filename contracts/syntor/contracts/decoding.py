"""What decoding JSON raises for bytes that are not what they should be."""

import msgspec

UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""msgspec leaves the last two to Python: bytes inside a string that are no UTF-8, and nesting without end."""
