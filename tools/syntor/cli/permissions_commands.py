"""`syntor permissions`: shows the effective rules, and which of them decides about a command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from syntor.cli.output import ExitCode, Format, fail, print_json, table
from syntor.cli.project import configuration, trusted_project
from syntor.configuration import Configuration, load_configuration
from syntor.configuration.folder_rules import FILE, allowed_in
from syntor.contracts.permissions import BUILT_IN_TOOLS, DEFAULT_MODE, MODES
from syntor.contracts.run.v1 import Permissions
from syntor.contracts.vocabulary import PermissionMode
from syntor.stack.layout import home_folder

_LISTS = ("deny", "ask", "allow")
Output = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]
Folder = Annotated[str, typer.Option("--cwd", help="Folder the agent works in; default: the current one.")]


class EffectiveRule(msgspec.Struct, frozen=True):
    """A rule in force, and where it comes from."""

    list: str
    """deny, ask or allow."""
    rule: str
    source: str
    """Layer, and file and line or folder."""


class TestedPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a command and what decides about it."""

    part: str
    decision: str
    reason: str
    rule: str = ""
    source: str = ""
    offered: str = ""
    """Rule that "always" would save."""


class Tested(msgspec.Struct, frozen=True):
    """What would be decided about a call."""

    tool: str
    subject: str
    mode: str
    decision: str
    reason: str
    parts: list[TestedPart]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Show permission rules, and what they decide.", no_args_is_help=True)
    group.command("list")(list_rules)
    group.command("test")(check)
    app.add_typer(group, name="permissions")


def list_rules(cwd: Folder = "", output: Output = Format.TEXT) -> None:
    """List the rules in force in a folder, in the order they decide, with their sources."""
    rules = list(_effective(_folder(cwd)))
    mode = _mode("")
    if output is not Format.TEXT:
        print_json({"mode": mode, "rules": [msgspec.to_builtins(rule) for rule in rules]})
        return
    print(f"mode: {mode}")
    print(
        table(("LIST", "RULE", "SOURCE"), [(each.list, each.rule, each.source) for each in rules])
        if rules
        else "no rules"
    )


def check(
    subject: Annotated[str, typer.Argument(metavar="COMMAND", help="Command, or path or URL for another tool.")],
    tool: Annotated[str, typer.Option("--tool", help="Tool that is called.")] = "bash",
    mode: Annotated[str, typer.Option("--mode", help=f"One of {', '.join(MODES)}; default: as configured.")] = "",
    cwd: Folder = "",
    output: Output = Format.TEXT,
) -> None:
    """Show what would be decided about a tool call: allow, ask or deny, by which rule, for each part of a command."""
    if tool not in BUILT_IN_TOOLS and not tool.startswith("mcp_"):
        fail(f"--tool {tool}: there are {', '.join(BUILT_IN_TOOLS)}", ExitCode.USAGE)
    tested = _tested(tool, subject, _mode(mode), _folder(cwd))
    if output is not Format.TEXT:
        print_json(tested)
        return
    print(f"{tested.decision}: {tested.reason}")
    for number, part in enumerate(tested.parts, 1):
        print(f"  {number}. {part.part}\n     {part.decision}: {part.reason}")
        if part.source:
            print(f"     {part.rule} is from {part.source}")
        if part.offered:
            print(f'     "always" would save {part.offered}')


def _tested(tool: str, subject: str, mode: PermissionMode, folder: Path) -> Tested:
    from syntor.agentkit.domain import tool_policy
    from syntor.agentkit.domain.tool_policy import PathArgument, ProposedCall
    from syntor.agentkit.tools.catalog import all_tools
    from syntor.agentkit.tools.judged_files import JudgedFiles
    from syntor.agentkit.tools.paths import resolve

    rules = list(_effective(folder))
    named = {kind: [each.rule for each in rules if each.list == kind] for kind in _LISTS}
    known = all_tools().get(tool)
    paths: tuple[PathArgument, ...] = ()
    if known is not None and "file" in tool:
        real = resolve(folder, subject)
        inside = real.relative_to(folder.resolve()) if real is not None else None
        paths = (PathArgument(subject, real, inside),)
    call = ProposedCall(tool=tool, effect=known.effect if known else "execute", subject=subject, paths=paths)
    verdict = tool_policy.decide(call, Permissions(mode=mode, **named), (), JudgedFiles(folder))
    sources = {each.rule: each.source for each in reversed(rules)}
    parts = [
        TestedPart(
            part.text or "(the whole command)", _word(part.decision), part.reason, part.rule,
            sources.get(part.rule, ""), part.offered,
        )
        for part in verdict.parts
        if part.text or part.decision != tool_policy.ALLOW
    ]  # fmt: skip
    return Tested(tool, subject, mode, _word(verdict.decision), verdict.reason, parts)


def _word(decision: str) -> str:
    return "ask" if decision == "require_approval" else decision


def _folder(cwd: str) -> Path:
    folder = Path(cwd or ".").expanduser().resolve()
    if not folder.is_dir():
        fail(f"--cwd {cwd}: no such folder", ExitCode.USAGE)
    return folder


def _mode(mode: str) -> PermissionMode:
    for known in MODES:
        if mode == known:
            return known
    if mode:
        fail(f"--mode {mode}: expected one of {', '.join(MODES)}", ExitCode.USAGE)
    return configuration(ask=False).permissions.mode or DEFAULT_MODE


def _effective(folder: Path) -> Iterator[EffectiveRule]:
    """Yield the rules an agent in a folder works with: of the project and the environment, the user, the folder."""
    home = home_folder(os.environ)
    layers: list[Configuration] = [load_configuration(home, None, os.environ, {})]
    if trusted_project(home, ask=False) is not None:
        layers.insert(0, configuration(ask=False))
    for kind in _LISTS:
        seen: set[tuple[str, str]] = set()
        for layer in layers:
            found = layer.get(f"permissions.{kind}")
            for rule in found.value if found is not None and isinstance(found.value, list) else []:
                if found is not None and (rule, found.origin) not in seen:
                    seen.add((rule, found.origin))
                    yield EffectiveRule(kind, rule, found.origin)
        if kind == "allow":
            for rule, known in allowed_in(home, folder):
                yield EffectiveRule(kind, rule, f"folder {known} ({home / FILE})")
