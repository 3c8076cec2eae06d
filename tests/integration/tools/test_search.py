"""Searching with ripgrep: what people expect to be found is found, and what was left out is said."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.sandbox import Sandbox, limits_only, open_sandbox
from syntor.agentkit.tools.search import Glob, Grep, glob, grep
from syntor.agentkit.tools.tool import ToolRun


@pytest.fixture(params=["as it is here", "limits"])
async def run(request: pytest.FixtureRequest, tmp_path: Path) -> ToolRun:
    workspace = tmp_path / "work"
    for name, content in {
        "src/a.ts": "const lamp = 1\n",
        "src/deep/b.tsx": "use(lamp)\n",
        "src/c.py": "one\ntwo\nlamp = 3\nfour\nfive\n",
        "dist/out.ts": "lamp\n",
        "node_modules/x/i.ts": "lamp\n",
        ".github/workflows/ci.yml": "run: lamp\n",
        ".gitignore": "dist/\n",
        ".env": "lamp=secret\n",
        ".git/config": "lamp\n",
    }.items():
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).write_text(content)
    sandbox: Sandbox = limits_only(workspace, "a test")
    if request.param != "limits":
        sandbox = await open_sandbox(workspace, network=False)
    return ToolRun(workspace=workspace, sandbox=sandbox, key="r1.t1.c1_1")


@pytest.mark.parametrize(
    ("pattern", "found", "note"),
    [
        ("*.ts", ["src/a.ts"], "left out: 2 by .gitignore"),
        ("*.{ts,tsx}", ["src/a.ts", "src/deep/b.tsx"], "2 by .gitignore"),
        ("src/**/*.ts*", ["src/a.ts", "src/deep/b.tsx"], ""),
        ("./src/*.py", ["src/c.py"], ""),
        (".github/**", [".github/workflows/ci.yml"], ""),
        ("**/*.yml", [], "1 as hidden"),
        ("src", [], "try src/**"),
    ],
)
async def test_patterns_are_those_of_gitignore(run: ToolRun, pattern: str, found: list[str], note: str) -> None:
    said = await glob(run, Glob(pattern=pattern))
    lines = [line for line in said.split("\n") if not line.startswith(("(", "no file"))]
    assert lines == found
    assert note in said
    assert bool(note) == ("left out" in said or "try" in said)


async def test_more_files_than_any_limit_of_old_are_searched(run: ToolRun) -> None:
    many = run.workspace / "many"
    many.mkdir()
    for number in range(20_500):
        os.close(os.open(many / f"f{number}.txt", os.O_CREAT))
    (run.workspace / "zz.txt").write_text("x" * 2_000_000 + "\nneedle\n")
    assert (await grep(run, Grep(pattern="^needle"))).startswith("zz.txt:2: needle\n")
    said = await glob(run, Glob(pattern="many/*.txt"))
    assert "... 20300 more files match" in said


async def test_lines_come_with_context_types_and_counts(run: ToolRun) -> None:
    said = await grep(run, Grep(pattern="lamp", path="src"))
    assert said == "src/a.ts:1: const lamp = 1\nsrc/c.py:3: lamp = 3\nsrc/deep/b.tsx:1: use(lamp)"
    said = await grep(run, Grep(pattern="LAMP", type="py", context=1, ignore_case=True))
    assert said.startswith("src/c.py-2- two\nsrc/c.py:3: lamp = 3\nsrc/c.py-4- four")
    said = await grep(run, Grep(pattern="lamp", glob="*.{ts,tsx}", output="files"))
    assert said.startswith("src/a.ts\nsrc/deep/b.tsx\n(left out: 2 by .gitignore")
    assert await grep(run, Grep(pattern="o", path="src/c.py", output="count")) == "src/c.py:3"
    assert (await grep(run, Grep(pattern="one.two", multiline=True))).startswith("src/c.py:1: one\nsrc/c.py:2: two")
    assert await grep(run, Grep(pattern="lamp", path="src", glob="deep/*")) == "src/deep/b.tsx:1: use(lamp)"
    assert await grep(run, Grep(pattern="lamp", path="src/*.py")) == "src/c.py:3: lamp = 3"


async def test_what_is_hidden_or_ignored_is_searched_when_it_is_named(run: ToolRun) -> None:
    assert await grep(run, Grep(pattern="lamp", path=".github")) == ".github/workflows/ci.yml:1: run: lamp"
    assert (await grep(run, Grep(pattern="lamp", path="node_modules"))) == "node_modules/x/i.ts:1: lamp"
    assert await grep(run, Grep(pattern="lamp", path="dist")) == "dist/out.ts:1: lamp"
    assert "may hold secrets" in await grep(run, Grep(pattern="lamp", path=".env"))
    assert "secret" not in (await grep(run, Grep(pattern="lamp", glob=".e*"))).replace("secrets", "")


async def test_a_pattern_that_backtracks_elsewhere_is_linear_here(run: ToolRun) -> None:
    (run.workspace / "a.txt").write_text("a" * 100_000 + "\n")
    began = time.monotonic()
    assert (await grep(run, Grep(pattern="(a+)+b"))).startswith("no line matches")
    assert time.monotonic() - began < 10
    assert "src/a.ts" in await glob(run, Glob(pattern="*" + "a*" * 1 + ".ts"))


async def test_special_files_and_long_lines_are_harmless(run: ToolRun) -> None:
    os.mkfifo(run.workspace / "pipe")
    (run.workspace / "loop").symlink_to(run.workspace)
    (run.workspace / "outside").symlink_to("/etc")
    (run.workspace / "line.txt").write_text("needle " + "x" * 50_000_000)
    said = await grep(run, Grep(pattern="needle"))
    assert said.startswith("line.txt:1: needle xx")
    assert len(said) < 1000
    for path, why in (("pipe", "no regular file"), ("outside", "outside the workspace"), ("sr", "there is src")):
        with pytest.raises(ToolError, match=why):
            await grep(run, Grep(pattern="root", path=path))


async def test_mistakes_are_explained(run: ToolRun) -> None:
    for arguments, why in (
        (Grep(pattern="("), "regex parse error"),
        (Grep(pattern="a", type="cobolt"), "unrecognized file type"),
        (Grep(pattern="a", glob="{"), "error parsing glob"),
    ):
        with pytest.raises(ToolError, match=why):
            await grep(run, arguments)
    for pattern in ("../x", "/etc/*", ""):
        with pytest.raises(ToolError):
            await glob(run, Glob(pattern=pattern))


async def test_a_repository_above_says_what_is_ignored_below(run: ToolRun) -> None:
    (run.workspace.parent / ".git").mkdir()
    (run.workspace.parent / ".gitignore").write_text("*.tsx\n")
    assert (await glob(run, Glob(pattern="*.tsx"))).startswith("no file matches\n(left out: 1 by .gitignore")


async def test_names_that_are_not_text_are_found(run: ToolRun) -> None:
    os.close(os.open(os.path.join(os.fsencode(run.workspace), b"caf\xe9.rs"), os.O_CREAT))
    (run.workspace / "two\nlines.rs").write_text("lamp\n")
    assert await glob(run, Glob(pattern="*.rs")) == '"caf\\351.rs"\n"two\\nlines.rs"'
    assert await grep(run, Grep(pattern="lamp", type="rust")) == '"two\\nlines.rs":1: lamp' + LEFT_OUT
    assert (await grep(run, Grep(pattern="lamp", path='"two\\nlines.rs"'))) == '"two\\nlines.rs":1: lamp'


LEFT_OUT = "\n(left out: 2 by .gitignore or as generated and 3 as hidden; name the folder to see them)"


async def test_files_of_syntor_itself_are_left_out(run: ToolRun, monkeypatch: pytest.MonkeyPatch) -> None:
    own = run.workspace / ".syn[t]or"
    own.mkdir()
    (own / "key").write_text("lamp\n")
    monkeypatch.setenv("SYNTOR_HOME", str(own))
    assert "key" not in await grep(run, Grep(pattern="lamp", glob="**/.*/*"))
    assert "key" not in await glob(run, Glob(pattern=".syn*/key"))
    with pytest.raises(ToolError, match="Syntor itself"):
        await grep(run, Grep(pattern="lamp", path=".syn[t]or"))
