"""Runs a supervisor: `python -m syntor.stack OPTIONS`, where OPTIONS is the JSON of `options.Options`."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from syntor.stack.options import Options
from syntor.stack.supervisor import Supervisor


async def _run(options: Options) -> int:
    return await Supervisor(options, os.environ).run()


def main() -> int:
    """Read the options and run until stopped."""
    if len(sys.argv) != 2:
        sys.stderr.write("error: this is started by `syntor up`\n")
        return 2
    try:
        options = msgspec.json.decode(sys.argv[1], type=Options)
    except msgspec.DecodeError as exc:
        sys.stderr.write(f"error: options: {exc}; this is started by `syntor up`\n")
        return 2
    return asyncio.run(_run(options))


if __name__ == "__main__":
    sys.exit(main())
