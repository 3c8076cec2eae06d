"""Judges a shell command: every simple command in it, by deny, ask and allow rules in that order, then by the mode.

The command is denied if one part is, else asked about if one part is, else allowed. What is not understood, or known
only when it runs, is asked about; it is denied where its known words agree with a deny rule. Wrappers (`timeout 5`,
`sh -c`, `xargs`) and commands that only move or test (`cd`, `[`) need no rule of their own.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from syntor.agentkit.domain.permissions import words as w
from syntor.agentkit.domain.permissions.command import ParsedCommand, SimpleCommand
from syntor.agentkit.domain.permissions.file_uses import WRITES, file_uses, operands, option_value
from syntor.agentkit.domain.permissions.files import Files, absolute, inside
from syntor.agentkit.domain.permissions.hazards import forbidden, protected, risk, runner_risk, variables_risk
from syntor.agentkit.domain.permissions.offered_rule import offered_rule
from syntor.agentkit.domain.permissions.parser import parse_command
from syntor.agentkit.domain.permissions.path_hazards import located
from syntor.agentkit.domain.permissions.programs import programs_of
from syntor.agentkit.domain.permissions.rules import (
    allows,
    command_patterns,
    covers_everything,
    matching_tool,
    restricts,
    restricts_text,
)
from syntor.agentkit.domain.permissions.running_programs import SHELLS
from syntor.contracts.run.v1 import Permissions
from syntor.contracts.vocabulary import DEFAULT_MODE, PolicyOutcome

ALLOW: Final = "allow"
REQUIRE_APPROVAL: Final = "require_approval"
DENY: Final = "deny"
_NEUTRAL = frozenset(
    [
        "cd",
        "pushd",
        "popd",
        "true",
        "false",
        ":",
        "test",
        "[",
        "[[",
        "pwd",
        "echo",
        "printf",
        "set",
        "export",
        "declare",
        "local",
        "readonly",
        "unset",
        "return",
        "exit",
        "break",
        "continue",
        "shift",
        "wait",
        "sleep",
        "read",
        "typeset",
        "let",
        "getopts",
    ]
)
_SHELL_FILE = re.compile(r"#!.*\b(ba|da|k|z)?sh\b")
_MAX_NESTED_FILES = 8


class Part(msgspec.Struct, frozen=True):
    """One part of a command, and what decides about it."""

    text: str
    """The simple command, as it is understood."""
    decision: PolicyOutcome
    reason: str
    """Why, with the rule or the mode that decides."""
    rule: str = ""
    """Rule that decides; empty: the mode, or what no rule can change."""
    offered: str = ""
    """Rule that would allow it; empty: none should."""
    by_mode: bool = False
    """Whether only the mode asks: a rule could allow it."""


class Judgement(msgspec.Struct, frozen=True):
    """What a command may do, as a whole and by part."""

    decision: PolicyOutcome
    reason: str
    rule: str
    """Rule to offer for "always"; empty: none."""
    parts: tuple[Part, ...]


def judge(text: str, permissions: Permissions, granted: Sequence[str], files: Files) -> Judgement:
    """Return whether a command is allowed, needs approval or is denied.

    Args:
        granted: rules people approved for the session.
    """
    parsed = parse_command(text)
    judge_part = _Judge(parsed, permissions, granted, files)
    return _combined(tuple(judge_part.parts()))


def _combined(parts: tuple[Part, ...]) -> Judgement:
    shown = [part for part in parts if part.text]
    for decision in (DENY, REQUIRE_APPROVAL):
        deciding = [part for part in parts if part.decision == decision]
        if deciding:
            first = next((part for part in deciding if not part.by_mode), deciding[0])
            place = f", part {shown.index(first) + 1} of {len(shown)}" if first in shown and len(shown) > 1 else ""
            about = f": `{first.text[:200]}`{place}" if first.text and (place or first.rule) else ""
            offered = first.offered if len(deciding) == 1 and first.by_mode else ""
            return Judgement(first.decision, f"{first.reason}{about}", offered, parts)
    reasons = list(dict.fromkeys(part.reason for part in parts if not part.reason.startswith("needs no rule"))) or [
        "nothing to run"
    ]
    return Judgement(ALLOW, "; ".join(reasons[:3]), "", parts)


class _Judge:
    """Judges the parts of one command."""

    def __init__(self, parsed: ParsedCommand, permissions: Permissions, granted: Sequence[str], files: Files) -> None:
        self._parsed = parsed
        self._deny, self._ask = permissions.deny, permissions.ask
        self._allow = (*permissions.allow, *granted)
        self._mode = permissions.mode or DEFAULT_MODE
        self._files = files
        self._downloaded: set[str] = set()
        self._written_now: set[str] = set()  # by earlier parts of this command
        self._everything = covers_everything(self._allow, "bash")
        self._exact = next(
            (
                rule
                for rule, pattern in command_patterns(self._allow)
                if "*" not in pattern and pattern.strip() == parsed.text.strip()
            ),
            "",
        )

    def parts(self) -> Iterator[Part]:
        """Yield a part for each simple command, and parts without a text for what concerns the whole."""
        parsed = self._parsed
        if parsed.forbidden:
            yield Part("", DENY, f"this command {parsed.forbidden}")
        yield from self._whole()
        commands = [command for command in parsed.commands if not command.is_quoted_code]
        alone = not any(_is_work(command) for command in commands)
        for command in commands:
            yield self._part(command, alone=alone)
            self._note_downloads(command)
        hidden = [command for command in parsed.commands if command.is_quoted_code]
        for command in (*hidden, *self._in_scripts(parsed.commands)):
            if part := self._restricted(command):
                yield part
        if parsed.problem:
            yield self._not_understood()
        if not commands and not parsed.problem:
            yield self._by_mode(SimpleCommand((), parsed.text), alone=True)

    def _whole(self) -> Iterator[Part]:
        text, understood = self._parsed.text, not self._parsed.problem
        if rule := covers_everything(self._deny, "bash") or restricts_text(self._deny, text, understood=understood):
            yield Part("", DENY, f"rule {rule} denies it", rule)
        elif self._mode == "plan":
            yield Part("", DENY, "plan mode changes nothing; describe what you would do")
        elif rule := covers_everything(self._ask, "bash") or restricts_text(self._ask, text, understood=understood):
            yield Part("", REQUIRE_APPROVAL, f"rule {rule} asks", rule)

    def _not_understood(self) -> Part:
        limits = command_patterns((*self._deny, *self._ask))
        if self._everything and not limits:
            return Part("", ALLOW, f"rule {self._everything} allows it", self._everything)
        return Part("", REQUIRE_APPROVAL, f"not all of the command is understood: {self._parsed.problem}")

    def _part(self, command: SimpleCommand, *, alone: bool) -> Part:
        if part := self._restricted(command):
            return part
        text = _text(command)
        if reason := protected(command, self._files):
            return Part(text, REQUIRE_APPROVAL, f"always asks: {reason}")
        if self._everything:
            return Part(text, ALLOW, f"rule {self._everything} allows it", self._everything)
        if self._exact:
            return Part(text, ALLOW, f"rule {self._exact} allows it", self._exact)
        if command.is_wrapper:
            reason = (
                (variables_risk(command) or runner_risk(command, self._files))
                if self._mode == "auto"
                else variables_risk(command)
            )
            return (
                Part("", REQUIRE_APPROVAL, f"this command {reason}")
                if reason and self._mode == "auto"
                else Part("", ALLOW, "needs no rule: it runs another part")
            )
        if (rule := allows(self._allow, command)) and not variables_risk(command):
            if not (written := self._written(command)):
                return Part(text, ALLOW, f"rule {rule} allows it", rule)
            if self._mode not in ("auto", "auto-edit"):
                return Part(text, REQUIRE_APPROVAL, f"mode {self._mode} asks before it writes {written}", by_mode=True)
        return self._by_mode(command, alone=alone)

    def _written(self, command: SimpleCommand) -> str:
        """Return a file the redirections of a command write, which a rule for the command does not cover."""
        for redirection in command.redirections:
            if redirection.writes and not redirection.target.startswith("/dev/") and not redirection.target.isdigit():
                path = absolute(self._files, command.cwd, redirection.target)
                here = inside(self._files, path) if path else None
                if here is None or not matching_tool(self._allow, "write_file", here):
                    return w.shown(redirection.target)
        return ""

    def _by_mode(self, command: SimpleCommand, *, alone: bool) -> Part:
        text = _text(command)
        if self._mode == "auto":
            reason = risk(command, self._files, frozenset(self._downloaded)) or self._runs_what_it_writes(command)
            if reason:
                return Part(text, REQUIRE_APPROVAL, f"mode auto asks: this command {reason}")
            return Part(text, ALLOW, "mode auto")
        if not alone and not _is_work(command) and not self._written(command) and not variables_risk(command):
            return Part(text, ALLOW, "needs no rule")
        risky = risk(command, self._files, frozenset(self._downloaded))
        offered = offered_rule(command) if not risky else ""
        return Part(
            text, REQUIRE_APPROVAL, f"mode {self._mode} asks before it runs commands", offered=offered, by_mode=True
        )

    def _runs_what_it_writes(self, command: SimpleCommand) -> str:
        """Return whether a command runs a shell script that an earlier part writes: nothing has judged its content."""
        by_shell = command.name in SHELLS or command.name in (".", "source") or "/" in "".join(command.words[:1])
        for word in programs_of(command) if by_shell else ():
            if absolute(self._files, command.cwd, word) in self._written_now:
                return f"runs {word}, which this line writes"
        return ""

    def _restricted(self, command: SimpleCommand) -> Part | None:
        """Return what denies a command or always asks about it: rules, and harm no approval can make good."""
        place = f" (in {command.via})" if command.via else " (in its code)" if command.is_quoted_code else ""
        text = f"{_text(command)}{place}"
        rule, sure = restricts(self._deny, command)
        if sure in ("yes", "likely"):
            return Part(text, DENY, f"rule {rule} denies it", rule)
        if reason := forbidden(command, self._files):
            return Part(text, DENY, f"this command {reason}" if not reason.endswith("secrets") else reason)
        if file_rule := self._by_file_rules(self._deny, command):
            return Part(text, DENY, f"rule {file_rule} denies it", file_rule)
        if sure == "maybe":
            return Part(text, REQUIRE_APPROVAL, f"known only when it runs, and rule {rule} may deny it", rule)
        if asking := restricts(self._ask, command)[0] or self._by_file_rules(self._ask, command):
            return Part(text, REQUIRE_APPROVAL, f"rule {asking} asks", asking)
        return None

    def _by_file_rules(self, rules: Sequence[str], command: SimpleCommand) -> str:
        """Return the first rule for the file tools that matches a file a command uses."""
        if not any(rule.partition("(")[2] and "file" in rule.partition("(")[0] for rule in rules):
            return ""
        patterned = [rule for rule in rules if "(" in rule]
        for use, path in located(command, self._files):
            here = inside(self._files, path)
            tools = ("write_file", "edit_file") if use.how in WRITES else ("read_file",)
            for tool in tools:
                if rule := matching_tool(patterned, tool, here if here is not None else path):
                    return rule
        return ""

    def _in_scripts(self, commands: Sequence[SimpleCommand], depth: int = 0) -> Iterator[SimpleCommand]:
        """Yield the commands in the shell scripts that commands run, as the files are now."""
        for path, text in list(_scripts(commands, self._files))[:_MAX_NESTED_FILES]:
            found = parse_command(text, via=inside(self._files, path) or path).commands
            yield from found
            if depth < 2:
                yield from self._in_scripts(found, depth + 1)

    def _note_downloads(self, command: SimpleCommand) -> None:
        if command.name not in ("curl", "wget"):
            uses = located(command, self._files)
            self._written_now |= {
                path for use, path in uses if use.how in WRITES and use.how not in ("attributes", "remove")
            }
            return
        rest = list(command.words[1:])
        names = [use.word for use in file_uses(command) if use.how in ("overwrite", "append")]
        if (command.name == "wget" and not option_value(rest, "-O", "--output-document")) or any(
            re.match(r"-\w*O|--remote-name", word) for word in rest
        ):
            names += [posixpath.basename(word.split("?", 1)[0]) for word in operands(command.name, rest)]
        self._downloaded |= {path for name in names if (path := absolute(self._files, command.cwd, name))}


def _scripts(commands: Sequence[SimpleCommand], files: Files) -> Iterator[tuple[str, str]]:
    for command in commands:
        for word in programs_of(command):
            path = absolute(files, command.cwd, word)
            text = files.text(path) if path is not None else None
            if (
                path is not None
                and text is not None
                and (command.name in SHELLS or command.name in (".", "source") or _SHELL_FILE.match(text))
            ):
                yield path, text


def _text(command: SimpleCommand) -> str:
    if not command.words:
        return command.source.strip()[:500]
    redirected = " ".join(
        f"{each.operator} {w.shown(each.target)}" for each in command.redirections if not each.target.isdigit()
    )
    return f"{command.line} {redirected}".strip()[:500]


def _is_work(command: SimpleCommand) -> bool:
    """Return whether a command does more than move, test, print or set a variable."""
    return bool(command.words) and command.name not in _NEUTRAL and not command.is_wrapper
