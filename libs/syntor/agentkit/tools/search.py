"""Tools that find files and lines: glob, grep. Ripgrep does the work; what was left out is counted and said.

.gitignore is honoured, also without git; hidden files are found where the pattern or path names them. Patterns are
gitignore's: `*.py` at any depth, `src/**/*.py`, `{ts,tsx}`.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from syntor.agentkit.domain.path_names import quoted, unquoted
from syntor.agentkit.domain.secret_files import is_secret
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.paths import inside
from syntor.agentkit.tools.processes import Captured
from syntor.agentkit.tools.ripgrep import TIMEOUT_S, ignore_files, ripgrep
from syntor.agentkit.tools.tool import ToolRun, bounded
from syntor.agentkit.tools.workspace_files import near_names, status

MAX_RESULTS = 200
_MAX_SEARCH_BYTES = 4 * 1024 * 1024
_MAX_ARGUMENT_BYTES = 512 * 1024  # names of files in one command line
_GENERATED = ("node_modules", "__pycache__")  # left out also where no .gitignore says so, unless they are named
_LINE = re.compile(rb"([^\0]+)\0(\d+)([:-])([^\n]*)\n")
_COUNT = re.compile(rb"([^\0]+)\0(\d+)\n")
_CONTENT = ("--line-number", "--no-heading", "--no-context-separator", "--max-columns=400", "--max-columns-preview")


class Glob(msgspec.Struct, frozen=True):
    """Arguments of glob."""

    pattern: Annotated[str, Meta(description="Such as *.py, src/**/*.{ts,tsx} or .github/**")]


class Grep(msgspec.Struct, frozen=True):
    """Arguments of grep."""

    pattern: Annotated[str, Meta(description="Regular expression (Rust syntax: no look-around)")]
    path: Annotated[str, Meta(description="File or folder to search")] = "."
    glob: Annotated[str, Meta(description="Only files that match, such as *.{ts,tsx}")] = ""
    type: Annotated[str, Meta(description="Only files of a type: py, js, rust, go, ...")] = ""
    output: Annotated[
        Literal["content", "files", "count"],
        Meta(description="Lines, only names of files, or the number of matching lines per file"),
    ] = "content"
    context: Annotated[int, Meta(ge=0, le=20, description="Lines to show before and after each match")] = 0
    ignore_case: Annotated[bool, Meta(description="Match small and capital letters alike")] = False
    multiline: Annotated[bool, Meta(description="Let the pattern match over several lines")] = False


class _Listing(msgspec.Struct, frozen=True):
    """Files that match a pattern."""

    found: list[str]
    """Sorted."""
    note: str
    """What was left out and why, as a line for the model; may be empty."""


async def glob(run: ToolRun, arguments: Glob) -> str:
    """Return paths that match a pattern such as `**/*.py`."""
    pattern = _pattern(run, arguments.pattern)
    listing = await _list(run, ".", pattern)
    if not listing.found:
        folder = status(run.workspace, pattern) is not None
        return _joined([f"no file matches{f'; {pattern} is there, try {pattern}/**' if folder else ''}", listing.note])
    more = len(listing.found) - MAX_RESULTS
    shown = [quoted(path) for path in listing.found[:MAX_RESULTS]]
    return _joined([bounded("\n".join(shown)), f"... {more} more files match" if more > 0 else "", listing.note])


async def grep(run: ToolRun, arguments: Grep) -> str:
    """Return lines that match a regular expression as `path:line: text`, or names of files, or counts."""
    path, pattern = unquoted(arguments.path), arguments.glob
    if "*" in path and await asyncio.to_thread(status, run.workspace, path) is None:
        path, pattern = ".", _pattern(run, path)
    root = await asyncio.to_thread(_root, run, path)
    options = _options(arguments)
    if pattern:
        pattern, folder = _pattern(run, pattern), root.removeprefix("./")
        if "/" in pattern and root != "." and not pattern.startswith(("**/", f"{folder}/")):
            pattern = f"{folder}/{pattern}"
        listing = await _list(run, root, pattern)
        found = [await _search(run, options, batch) for batch in _batches(listing.found)]
    else:
        listing, searched = await asyncio.gather(_list(run, root, ""), _search(run, options, [root]))
        found = [searched]
    lines, secret = _result_lines(arguments, b"".join(each.output for each in found))
    notes = [
        "no line matches; binary files were not searched" if not lines else "",
        bounded("\n".join(lines[:MAX_RESULTS])),
        f"... {len(lines) - MAX_RESULTS} more lines of results" if len(lines) > MAX_RESULTS else "",
        f"({secret} files that may hold secrets match and are not shown)" if secret else "",
        _limit_note(found),
        listing.note,
    ]
    return _joined(notes)


def _options(arguments: Grep) -> list[str]:
    options = ["--with-filename", "--null", *(_CONTENT if arguments.output == "content" else ())]
    options += {"content": [], "files": ["--files-with-matches"], "count": ["--count"]}[arguments.output]
    options += ["--ignore-case"] if arguments.ignore_case else []
    options += ["--multiline", "--multiline-dotall"] if arguments.multiline else []
    options += [f"--context={arguments.context}"] if arguments.context and arguments.output == "content" else []
    options += [f"--type={arguments.type}"] if arguments.type else []
    return [*options, *_leaving_out(arguments.path), f"--regexp={arguments.pattern}"]


def _pattern(run: ToolRun, pattern: str) -> str:
    """Return a pattern relative to the workspace, as ripgrep takes it."""
    base = str(run.workspace).rstrip("/") + "/"
    pattern = pattern.removeprefix(base).removeprefix("./")
    if not pattern.strip():
        raise ToolError("pattern is empty; use **/* for all files")
    if pattern.startswith(("../", "/")) or "/../" in pattern:
        raise ToolError(f"pattern {pattern!r} leads outside the workspace")
    return "\\" + pattern if pattern.startswith("!") else pattern


def _root(run: ToolRun, path: str) -> str:
    """Return a file or folder relative to the workspace, links followed, as ripgrep takes it."""
    real = inside(run.workspace, path)
    if not real.is_dir() and not real.is_file():
        there = os.path.lexists(real)
        what = "is no regular file" if there else f"does not exist{near_names(run.workspace, path)}"
        raise ToolError(f"{quoted(path)} {what}")
    relative = str(real.relative_to(run.workspace.resolve()))
    return "." if relative == "." else f"./{relative}"


async def _search(run: ToolRun, options: Sequence[str], paths: Sequence[str]) -> Captured:
    return await ripgrep(
        run.sandbox,
        [*options, "--", *paths],
        readable=ignore_files(run.workspace),
        max_output_bytes=_MAX_SEARCH_BYTES,
    )


async def _list(run: ToolRun, root: str, pattern: str) -> _Listing:
    """List files below a folder that match a pattern (empty: all), and count those that were left out."""
    named = f"{root}/{pattern}"
    wanted = [f"--glob={pattern}"] if pattern else []
    names_hidden = any(part.startswith(".") and part.strip(".") for part in named.split("/"))
    hidden = ["--hidden"] if names_hidden else []
    every = ["--files", "--null", "--no-ignore", "--hidden", *wanted, "--glob=!.git", "--", root]
    visible, matching = await asyncio.gather(
        ripgrep(
            run.sandbox,
            ["--files", "--null", *hidden, *_leaving_out(named), "--glob=!.git", "--", root],
            readable=ignore_files(run.workspace),
        ),
        ripgrep(run.sandbox, every),
    )
    return await asyncio.to_thread(_compared, visible, matching)


def _compared(visible: Captured, matching: Captured) -> _Listing:
    there, named = set(visible.output.split(b"\0")[:-1]), set(matching.output.split(b"\0")[:-1])
    left_out = named - there
    hidden = sum(1 for path in left_out if b"/." in path[2:] or path.removeprefix(b"./").startswith(b"."))
    parts = [(len(left_out) - hidden, "by .gitignore or as generated"), (hidden, "as hidden")]
    said = " and ".join(f"{count} {why}" for count, why in parts if count)
    note = f"(left out: {said}; name the folder to see them)" if said else ""
    found = sorted(os.fsdecode(path.removeprefix(b"./")) for path in named & there)
    return _Listing(found, _joined([_limit_note([visible, matching]), note]))


def _leaving_out(named: str) -> list[str]:
    return [f"--glob=!{folder}" for folder in _GENERATED if folder not in named]


def _batches(paths: Sequence[str]) -> Iterable[list[str]]:
    """Split names of files so that each part fits a command line; those that may hold secrets are left out."""
    batch: list[str] = []
    size = 0
    for path in paths:
        if is_secret(PurePath(path)):
            continue
        batch.append(f"./{path}")
        size += len(os.fsencode(path)) + 16
        if size > _MAX_ARGUMENT_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _result_lines(arguments: Grep, data: bytes) -> tuple[list[str], int]:
    """Return lines for the model, and the number of files with secrets that were left out."""
    by_path: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    match arguments.output:
        case "files":
            for path in data.split(b"\0")[:-1]:
                by_path[_path(path)].append((0, "", ""))
        case "count":
            for path, count in _COUNT.findall(data):
                by_path[_path(path)].append((0, ":", count.decode()))
        case _:
            for path, number, sign, text in _LINE.findall(data):
                line = text.decode("utf-8", "backslashreplace").rstrip()
                by_path[_path(path)].append((int(number), sign.decode(), line if arguments.context else line.lstrip()))
    lines: list[str] = []
    secret = 0
    for name in sorted(by_path):
        if is_secret(PurePath(name)):
            secret += 1
            continue
        before = 0
        for number, sign, text in by_path[name]:
            if arguments.context and before and number > before + 1:
                lines.append("--")
            before = number
            lines.append(f"{quoted(name)}{sign}" + (f"{number}{sign} {text}" if number else text))
    return lines, secret


def _path(raw: bytes) -> str:
    return os.fsdecode(raw.removeprefix(b"./"))


def _limit_note(found: Sequence[Captured]) -> str:
    if any(each.timed_out for each in found):
        return f"(stopped after {TIMEOUT_S:.0f} s: not all files were searched; name a folder, or narrow the pattern)"
    if any(each.cut for each in found):
        return "(stopped: too many results; not all files were searched; name a folder, or narrow the pattern)"
    return ""


def _joined(parts: Iterable[str]) -> str:
    return "\n".join(part for part in parts if part)
