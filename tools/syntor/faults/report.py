"""Report of a campaign, for people."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime

import msgspec

from syntor.faults.takeover import Takeover

LIMITS_S = {"death": 5.0, "hang": 15.0}
"""Longest takeover, p99, with faults one at a time; 15 s where faults overlap."""

_SLOW_SHOWN = 10


class Report(msgspec.Struct, kw_only=True):
    """Result of a campaign."""

    seed: int
    points: int
    command: str
    """Command that repeats it."""
    injected: dict[str, int] = {}
    """Faults by action and target."""
    skipped: dict[str, str] = {}
    """Kinds of faults this machine does not allow, with the reason."""
    runs: int = 0
    """Runs accepted."""
    events: int = 0
    effects: int = 0
    streams: int = 0
    """Event streams that were followed to their ends."""
    violations: list[str] = []
    takeovers: list[Takeover] = []
    """Work of processes that died or hung, shortest takeover first."""
    repeats: dict[str, int] = {}
    """Model calls and commands that were started again, by cause."""
    flips: dict[str, int] = {}
    """Bits flipped in copies of the store, by what became of them."""
    duration_s: float = 0.0
    ended_by: str = ""
    """Signal that ended the campaign early."""

    def text(self) -> str:
        """Return the report."""
        injected = ", ".join(f"{count} {what}" for what, count in sorted(self.injected.items()))
        count = sum(self.injected.values())
        lines = [f"seed {self.seed}: {count} of {self.points} faults in {self.duration_s:.0f} s ({injected})"]
        if self.ended_by:
            lines.append(f"ended early by {self.ended_by}: what was in progress is not judged")
        lines += [f"skipped: {kind}: {why}" for kind, why in sorted(self.skipped.items())]
        lines.append(
            f"{self.runs} runs accepted, {self.events} events, {self.effects} external effects, "
            f"{self.streams} streams followed"
        )
        lines += self._takeover_lines()
        started = ", ".join(f"{count} after {cause}" for cause, count in sorted(self.repeats.items())) or "none"
        lines.append(f"model calls and commands started again: {started}")
        if self.flips:
            flips = ", ".join(f"{count} {what}" for what, count in sorted(self.flips.items()))
            lines.append(f"bits flipped in copies of the store after a crash: {flips}")
        lines.append(f"invariants: {len(self.violations)} violations" + ("" if self.violations else ", all hold"))
        kinds = Counter(re.sub(r"[0-9a-z]{20,}|\d+", "*", each)[:60] for each in self.violations)
        lines += [f"  {count} times: {kind}" for kind, count in kinds.most_common(10)]
        lines += [f"  {each}" for each in self.violations[:20]]
        if self.violations:
            lines.append(f"repeat: {self.command}")
        return "\n".join(lines)

    def _takeover_lines(self) -> list[str]:
        lines: list[str] = []
        for how in ("death", "hang"):
            of_kind = [each for each in self.takeovers if each.how == how]
            for service in ("", *sorted({each.service for each in of_kind})):
                took = [each for each in of_kind if service in ("", each.service)]
                if took:
                    what = f"takeover after a {how}{f' of {service}' if service else ''}"
                    lines.append(f"{what}: {percentiles([each.seconds for each in took])}")
            if of_kind:
                settled = percentiles([each.settled_s for each in of_kind])
                lines.append(f"  since the last fault that hit the same service, NATS or the connection: {settled}")
        if queued := [each.queued_s for each in self.takeovers if each.queued_s > 0]:
            lines.append(f"of it not counted, queueing for a free place: {percentiles(queued)}")
        slow: dict[tuple[datetime, str, str], list[float]] = {}
        for each in self.takeovers:
            if each.seconds > LIMITS_S[each.how]:
                slow.setdefault((each.at, each.how, each.instance), []).append(each.seconds)
        for (at, how, instance), times in sorted(slow.items())[:_SLOW_SHOWN]:
            lines.append(f"  {len(times)} tasks, longest {times[-1]:.1f} s: {how} of {instance} at {at:%H:%M:%S.%f}")
        return lines


def percentiles(values: list[float]) -> str:
    """Return p50, p99 and the number of values for people."""
    ordered = sorted(values)
    half, high = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return f"p50 {half:.2f} s, p99 {high:.2f} s, n = {len(ordered)}"
