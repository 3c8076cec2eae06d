"""How damage of the log is shown to people, and what they can do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from syntor.eventsourcing.verification import Damage

RESTORE = (
    "restore the newest backup that is intact (`syntor backup verify FILE`): move the `data` folder of the home away, "
    "then `syntor backup restore FILE`"
)


def damage_line(damage: Damage) -> str:
    """Return damage as one line of text."""
    subject = f" ({damage.subject})" if damage.subject else ""
    return f"damage at {damage.positions}{subject}: {damage.what}"
