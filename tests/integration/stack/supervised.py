"""Runs a real supervisor with stand-in services: `python supervised.py OPTIONS`."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from syntor.stack.options import Options
from syntor.stack.services import ServiceSpec
from syntor.stack.supervisor import Supervisor

SPECS = (
    ServiceSpec("alpha", "stand_in"),
    ServiceSpec("beta", "stand_in"),
    ServiceSpec("gamma", "stand_in", on_demand=True),
)


async def main() -> int:
    """Run until stopped."""
    return await Supervisor(msgspec.json.decode(sys.argv[1], type=Options), os.environ, SPECS).run()


sys.exit(asyncio.run(main()))
