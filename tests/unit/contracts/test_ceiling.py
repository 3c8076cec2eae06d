"""Ceilings only ever get lower."""

from __future__ import annotations

from syntor.contracts.ceiling import NO_CEILING, NOWHERE, combined, is_inside, lower
from syntor.contracts.run.v1 import Ceiling


def test_the_lower_mode_and_the_common_folders_count() -> None:
    assert lower("auto", "plan") == lower("plan", "ask") == "plan"
    assert lower("auto-edit", "ask") == "ask"
    wide = Ceiling(max_mode="auto-edit", workspaces=["/srv", "/home/ann/x"])
    narrow = Ceiling(max_mode="ask", workspaces=["/srv/x", "/home/ann"])
    result = combined([wide, None, narrow])
    assert result.max_mode == "ask"
    assert sorted(result.workspaces) == ["/home/ann/x", "/srv/x"]
    assert combined([None, None]) == NO_CEILING


def test_without_a_common_folder_none_is_allowed() -> None:
    result = combined([Ceiling(workspaces=["/a"]), Ceiling(workspaces=["/b"])])
    assert result.workspaces == [NOWHERE]
    assert not is_inside("/a", result.workspaces)


def test_folders_are_compared_by_their_parts() -> None:
    assert is_inside("/srv/x/y", ["/srv/x"])
    assert is_inside("/srv/x", ["/srv/x"])
    assert not is_inside("/srv/xy", ["/srv/x"])
    assert not is_inside("/srv/x/../y", ["/srv/x"])
