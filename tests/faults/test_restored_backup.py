"""An older backup that replaces the log under running clients: what is lost is refused, the rest continues."""

from __future__ import annotations

from pathlib import Path

from syntor.faults.restored_backup import run


def test_clients_continue_after_an_older_backup_was_restored(tmp_path: Path) -> None:
    report = run(tmp_path, 2.0)
    print(report.text())
    assert report.violations == []
    assert report.runs > report.lost > 0
    assert report.after > 0
    assert report.streams > 0
