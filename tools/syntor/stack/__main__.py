"""Runs a supervisor: `python -m syntor.stack OPTIONS`, where OPTIONS is the JSON of `options.Options`."""

from __future__ import annotations

import sys

# The supervisor uses loopback only and needs no TLS; without OpenSSL, which asyncio and hashlib load if available, its
# resident memory is 5 MB smaller.
sys.modules["ssl"] = None  # type: ignore[assignment]
sys.modules["_hashlib"] = None  # type: ignore[assignment]

import asyncio  # noqa: E402
import os  # noqa: E402

import msgspec  # noqa: E402

from syntor.contracts.decoding import UNDECODABLE  # noqa: E402
from syntor.stack.options import Options  # noqa: E402
from syntor.stack.supervisor import Supervisor  # noqa: E402


async def _run(options: Options) -> int:
    return await Supervisor(options, os.environ).run()


def main() -> int:
    """Parse the options and run the supervisor until it is stopped."""
    if len(sys.argv) != 2:
        sys.stderr.write("error: only `syntor up` starts this program\n")
        return 2
    try:
        options = msgspec.json.decode(sys.argv[1], type=Options)
    except UNDECODABLE as exc:
        sys.stderr.write(f"error: options: {exc}; only `syntor up` starts this program\n")
        return 2
    return asyncio.run(_run(options))


if __name__ == "__main__":
    sys.exit(main())
