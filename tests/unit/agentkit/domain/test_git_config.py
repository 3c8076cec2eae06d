"""A repository's settings that name programs are overridden, those of the user stay."""

from __future__ import annotations

import subprocess
from pathlib import Path

from syntor.agentkit.domain import git_config
from syntor.agentkit.domain.git_config import Setting

LFS = [("filter.lfs.clean", "git-lfs clean -- %f"), ("filter.lfs.required", "true")]
USER = [Setting("global", key, value) for key, value in LFS]


def test_a_listing_is_read_in_order() -> None:
    listed = b"global\0user.name\nAda\0local\0core.bare\0local\0filter.a=b.c.clean\nx\ny\0"
    assert git_config.parse(listed) == [
        Setting("global", "user.name", "Ada"),
        Setting("local", "core.bare", "true"),
        Setting("local", "filter.a=b.c.clean", "x\ny"),
    ]


def test_filters_of_the_user_stay_and_those_of_a_repository_do_not() -> None:
    own = git_config.users_own(USER, "/home/a")
    assert own == LFS
    assert not any(key.startswith("filter.") for key, _ in git_config.overrides(USER, own))
    hostile = [*USER, Setting("local", "filter.lfs.clean", "evil"), Setting("worktree", "filter.x\ny.smudge", "evil")]
    overrides = dict(git_config.overrides(hostile, own))
    assert overrides["filter.lfs.clean"] == "git-lfs clean -- %f"
    assert overrides["filter.x\ny.smudge"] == ""


def test_lfs_is_off_where_the_repository_has_it_run_programs() -> None:
    settings = [*USER, Setting("local", "lfs.extension.x.clean", "evil")]
    assert dict(git_config.overrides(settings, LFS))["filter.lfs.clean"] == ""


def test_credentials_aliases_and_includes_of_the_user_are_not_taken_over() -> None:
    keys = ("credential.helper", "credential.https://h.helper", "alias.st", "include.path", "includeif.gitdir:x.path")
    assert git_config.users_own([Setting("global", key, "x") for key in keys], "/home/a") == []
    assert git_config.users_own([Setting("global", "core.excludesfile", "~/i")], "/home/a") == [
        ("core.excludesfile", "/home/a/i")
    ]


def test_git_reads_back_what_is_written(tmp_path: Path) -> None:
    settings = [("a.b", 'x "y" \\ z\n\t;#'), ('filter.q"u\\o.te.clean', " spaces "), ("c.d", "")]
    (tmp_path / "config").write_bytes(git_config.as_file(settings))
    listed = subprocess.run(
        ["git", "config", "--file", tmp_path / "config", "--list", "-z"], check=True, capture_output=True, text=True
    ).stdout
    assert [tuple(entry.split("\n", 1)) for entry in listed.split("\0")[:-1]] == settings
