"""`python -m syntor.simulation`: runs seeds of the simulation; prints each that fails, and how to run it again."""

from __future__ import annotations

import sys

from syntor.simulation.campaign import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
