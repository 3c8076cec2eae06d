"""The architecture page names modules that exist, and no journey has more than ten stops."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGES = [ROOT, *(ROOT / folder / "syntor" for folder in ("contracts", "libs", "services", "tools"))]
JOURNEYS = re.split(r"^## Journey \d: .*$", PAGE, flags=re.MULTILINE)[1:]


def test_every_module_that_is_named_exists() -> None:
    named = re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", PAGE)
    assert len(named) > 20
    missing = [name for name in named if not any((package / name).exists() for package in PACKAGES)]
    assert missing == []


def test_a_journey_has_at_most_ten_stops() -> None:
    stops = [len(re.findall(r"^\d+\. ", journey, flags=re.MULTILINE)) for journey in JOURNEYS]
    assert len(stops) == 3
    assert max(stops) <= 10
