"""Parses a shell command into its simple commands by following it as bash would, without running anything.

Constant variables, `$(echo x)`, loops over few words, functions and text piped into a shell are followed; whatever
else is known only at run time becomes `words.ANY`. The walk is bounded: beyond the bounds, the command is not
understood, and says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from syntor.agentkit.domain.permissions import words as w
from syntor.agentkit.domain.permissions.command import ParsedCommand, Redirection, SimpleCommand, Stdin
from syntor.agentkit.domain.permissions.constants import captured, moved, printed
from syntor.agentkit.domain.permissions.syntax import WordReader, parse, text_of
from syntor.agentkit.domain.permissions.wrappers import Code, Inner, unwrap

if TYPE_CHECKING:
    from tree_sitter import Node

_MAX_DEPTH, _MAX_COMMANDS, _MAX_ROUNDS = 12, 2000, 8
_MAX_STATEMENTS = 20_000  # visited: loops and functions inside each other visit the same ones many times
_MAX_WORDS = 1000  # of one command, and ten times as many of all
_MAX_VALUE = 4096  # characters of a variable; a longer value is any text
_WORDS = frozenset({
    "word", "string", "raw_string", "ansi_c_string", "translated_string", "concatenation", "simple_expansion",
    "expansion",
    "command_substitution", "process_substitution", "arithmetic_expansion", "number", "brace_expression",
    "extglob_pattern", "special_variable_name", "test_operator", "regex", "variable_name",
})  # fmt: skip
_KEYWORDS = frozenset(["{", "!", "do", "then", "else", "elif", "if", "while", "until"])
_HARMLESS_SPECIAL = frozenset("?#$!")


def parse_command(text: str, *, via: str = "") -> ParsedCommand:
    """Return the simple commands of a shell command.

    Args:
        via: file the text stands in; empty: the command itself.
    """
    walk = _Walk(via)
    try:
        walk.script(text)
        walk.uncalled_functions()
    except _TooManyPartsError:
        walk.problem = walk.problem or "it has too many parts"
    return ParsedCommand(text, tuple(walk.commands), walk.problem, walk.forbidden)


class _TooManyPartsError(Exception):
    """A bound of the walk is reached."""


class _Walk:
    """One pass over a command."""

    def __init__(self, via: str) -> None:
        self.commands: list[SimpleCommand] = []
        self.problem = ""
        self.forbidden = ""
        self._via = via
        self._depth = 0
        self._statements = 0
        self._words = 0
        self._variables: dict[str, str] = {}
        self._functions: dict[str, Node | str] = {}
        self._called: set[str] = set()
        self._active: set[str] = set()  # functions being followed; one that calls itself is followed once
        self._cwd: str | None = ""
        self._stdin: Stdin | None = None
        self._outer: tuple[tuple[tuple[str, ...], int], ...] = ()
        self._reader = WordReader(self._variable, self._substitution)
        self._trees: list[object] = []  # nodes are valid as long as their tree is

    def script(self, text: str) -> None:
        """Follow the text of a script."""
        if any(sign in text for sign in w.RESERVED) or self._depth >= _MAX_DEPTH:
            self._not_understood("control characters" if self._depth < _MAX_DEPTH else "it is nested too deeply")
            return
        tree = parse(text)
        if tree is None:
            self._not_understood("it is too long, or long with an error")
            return
        self._trees.append(tree)
        if tree.root_node.has_error:
            self._not_understood(f"`{_first_error(tree.root_node, text)[:60]}` is not understood")
        self._depth += 1
        try:
            self._statement(tree.root_node)
        except RecursionError:
            self._not_understood("it is nested too deeply")
        self._depth -= 1

    def uncalled_functions(self) -> None:
        """Follow the bodies of functions no command calls by name: something may yet call them."""
        for name, body in list(self._functions.items()):
            if name not in self._called:
                self._active = {name}
                self._call(body, ())

    def _not_understood(self, why: str) -> None:
        self.problem = self.problem or why

    def _statement(self, node: Node) -> None:
        self._statements += 1
        if self._statements > _MAX_STATEMENTS:
            raise _TooManyPartsError
        match node.type:
            case "command" | "declaration_command" | "unset_command":
                self._command(node, ())
            case "redirected_statement":
                self._redirected(node)
            case "pipeline":
                self._pipeline(node)
            case "subshell":
                self._isolated(node)
            case "function_definition":
                self._function(node)
            case "for_statement":
                self._for(node)
            case "variable_assignment":
                self._assign(node)
            case "comment" | "heredoc_start" | "heredoc_end":
                pass
            case kind if kind in _WORDS:
                self._reader.raw(node)
            case _:
                for child in node.named_children:
                    self._statement(child)

    def _isolated(self, node: Node) -> None:
        """Follow a subshell: its folder and variables are its own."""
        before, variables = self._cwd, dict(self._variables)
        for child in node.named_children:
            self._statement(child)
        self._cwd, self._variables = before, variables

    # simple commands

    def _command(self, node: Node, around: tuple[Redirection, ...]) -> None:
        assignments: list[tuple[str, str]] = []
        raw: list[str] = []
        redirections, stdin = list(around), self._stdin
        if node.type != "command":  # export, declare, unset ...
            raw.append(text_of(node).split(None, 1)[0])
        for child in node.named_children:
            match child.type:
                case "variable_assignment":
                    pair = self._assignment(child)
                    if node.type == "command":
                        assignments.append(pair)
                    else:
                        self._remember(*pair)
                        raw.append("=".join(pair).replace(w.SPLIT, " "))
                case "file_redirect":
                    redirections.append(self._redirection(child, raw))
                case "herestring_redirect" | "heredoc_redirect":
                    stdin = self._here(child, raw)
                case _:
                    raw.append(self._reader.raw(child))
        words = [word for each in raw for word in w.finished(each)]
        self._emit(
            SimpleCommand(
                tuple(words),
                text_of(node).strip(),
                tuple(assignments),
                tuple(redirections),
                stdin,
                self._cwd,
                self._outer,
                self._via,
            )
        )

    def _emit(self, command: SimpleCommand) -> None:
        """Record a command, and follow what it runs."""
        self._words += len(command.words)
        too_long = len(command.words) > _MAX_WORDS or self._words > 10 * _MAX_WORDS
        if too_long or len(self.commands) >= _MAX_COMMANDS:
            raise _TooManyPartsError
        if not command.words and not command.redirections:
            for name, value in command.assignments:
                self._remember(name, value)
            if not command.assignments:
                return
        if command.words[:1] and command.words[0] in _KEYWORDS and command.words[1:]:  # `time { git push; }`
            self._emit(msgspec.structs.replace(command, words=command.words[1:]))
            return
        if command.name == "coproc" and "{" in command.words[2:3]:
            self._emit(msgspec.structs.replace(command, words=command.words[3:]))
            return
        body = self._functions.get(command.words[0]) if command.words else None
        if body is not None:
            self._called.add(command.words[0])
            self.commands.append(_as_wrapper(command))
            if command.words[0] not in self._active:
                self._active.add(command.words[0])
                self._call(body, command.words[1:])
                self._active.discard(command.words[0])
            return
        if command.name == "alias":
            for word in command.words[1:]:
                name, equals, value = word.partition("=")
                if equals:
                    self._functions[name] = value
        inner = unwrap(command)
        self.commands.append(_as_wrapper(command) if inner and any(each.replaces for each in inner) else command)
        self._cwd = moved(command, self._cwd)
        if self._depth >= _MAX_DEPTH:
            self._not_understood("it is nested too deeply")
            return
        for each in inner:
            self._inside(command, each)

    def _inside(self, command: SimpleCommand, inner: Inner) -> None:
        before = (self._outer, self._stdin, self._cwd, self._variables)
        self._depth += 1
        if isinstance(inner.runs, Code):
            self._outer = (*self._outer, (command.words, len(command.words)))
            self._code(inner.runs)
        else:
            name = inner.runs[0]
            inside = command.words.index(name, 1) if name in command.words[1:] else len(command.words)
            outer = (*command.outer, (command.words, inside))
            self._emit(
                SimpleCommand(
                    inner.runs, command.source, (*command.assignments, *inner.assignments), (), command.stdin,
                    inner.cwd if inner.cwd != "" else command.cwd, outer, command.via,
                )
            )  # fmt: skip
        self._depth -= 1
        self._outer, self._stdin, self._cwd, self._variables = before

    def _code(self, code: Code) -> None:
        if w.ANY in code.text:
            self._not_understood(f"what {code.by} runs is known only when it runs")
            if not code.text.replace(w.ANY, "").strip():
                return
        if not code.is_shell:
            quoted = len(self.commands)
            problem = self.problem
            for text in code.quoted_texts():
                self.script(text)
            self.problem = problem  # most texts are no commands
            for index in range(quoted, len(self.commands)):
                self.commands[index] = _as_quoted(self.commands[index])
            return
        self._variables = dict(self._variables)
        if code.arguments:
            self._variables |= {str(number): each for number, each in enumerate(code.arguments)}
            self._variables["@"] = self._variables["*"] = w.SPLIT.join(code.arguments[1:])
        self._stdin = None
        self.script(code.text.replace(w.ANY, "$UNKNOWN_").translate(_PATTERN_SIGNS))

    # redirections and standard input

    def _redirection(self, node: Node, raw: list[str]) -> Redirection:
        operator, target = "", w.ANY
        for child in node.children:
            if child.type == "file_descriptor":
                continue
            if child.is_named:
                found = w.finished(self._reader.raw(child))
                if target is w.ANY:
                    target = found[0] if len(found) == 1 else w.ANY
                else:  # words behind a redirection belong to the command
                    raw += found
            else:
                operator += child.type
        return Redirection(operator, target)

    def _here(self, node: Node, raw: list[str]) -> Stdin:
        if node.type == "herestring_redirect":
            return Stdin(self._reader.raw(node.named_children[0], quoted=True).replace(w.EMPTY, "") + "\n")
        text = ""
        for child in node.named_children:
            if child.type == "heredoc_body":
                text = self._heredoc(child)
            elif child.type in _WORDS:
                raw.append(self._reader.raw(child))
        return Stdin(text)

    def _heredoc(self, body: Node) -> str:
        source, start, position, text = body.text or b"", body.start_byte, 0, ""
        for child in body.named_children:
            if child.type != "heredoc_content":
                text += source[position : child.start_byte - start].decode("utf-8", "replace")
                text += self._reader.raw(child, quoted=True)
                position = child.end_byte - start
        return (text + source[position:].decode("utf-8", "replace")).replace(w.EMPTY, "")

    def _redirected(self, node: Node) -> None:
        """Follow a statement with redirections; what follows a here-document on its line stands inside it."""
        extra: list[str] = []
        redirections: list[Redirection] = []
        stdin, body = self._stdin, None
        behind: list[Node] = []
        for child in node.named_children:
            match child.type:
                case "file_redirect":
                    redirections.append(self._redirection(child, extra))
                case "herestring_redirect":
                    stdin = self._here(child, extra)
                case "heredoc_redirect":
                    stdin = self._here(child, extra)
                    for inside in child.named_children:
                        if inside.type == "file_redirect":
                            redirections.append(self._redirection(inside, extra))
                        elif inside.type not in _WORDS and not inside.type.startswith("heredoc_"):
                            behind.append(inside)
                case _:
                    body = child
        before, self._stdin = self._stdin, stdin
        if redirections and any(each.operator.startswith("<") and not each.writes for each in redirections):
            self._stdin = Stdin(None, "a file")
        first = len(self.commands)
        if body is not None and body.type == "command":
            self._command_with(body, tuple(redirections), extra)
        else:
            if redirections:
                self._emit(
                    SimpleCommand(
                        (), text_of(node).strip(), (), tuple(redirections), None, self._cwd, self._outer, self._via
                    )
                )
            if body is not None:
                self._statement(body)
        self._stdin = _output(self.commands[first:], self._stdin) if behind else before
        for each in behind:
            self._statement(each)
        self._stdin = before

    def _command_with(self, node: Node, redirections: tuple[Redirection, ...], extra: list[str]) -> None:
        first = len(self.commands)
        self._command(node, redirections)
        if extra and len(self.commands) > first:  # `cmd <<E more words`: judged with them as well
            found = self.commands[first]
            self._emit(
                SimpleCommand(
                    (*found.words, *extra),
                    found.source,
                    found.assignments,
                    (),
                    found.stdin,
                    found.cwd,
                    self._outer,
                    self._via,
                )
            )

    def _pipeline(self, node: Node) -> None:
        before, cwd = self._stdin, self._cwd
        for child in node.named_children:
            first = len(self.commands)
            self._statement(child)
            self._stdin = _output(self.commands[first:], self._stdin)
        self._stdin, self._cwd = before, cwd

    # functions, loops, variables

    def _function(self, node: Node) -> None:
        name = text_of(node.named_children[0])
        body = node.named_children[-1]
        source = text_of(body)
        if re.search(rf"(?<![\w./-]){re.escape(name)}\s*\|\s*{re.escape(name)}(?![\w./-])[^\n]*&", source):
            self.forbidden = "forks without limit"
        self._functions[name] = body
        for child in node.named_children[1:-1]:
            self._statement(child)

    def _call(self, body: Node | str, arguments: tuple[str, ...]) -> None:
        if self._depth >= _MAX_DEPTH:
            self._not_understood("it is nested too deeply")
            return
        saved = dict(self._variables)
        self._depth += 1
        if isinstance(body, str):
            self.script(" ".join([body, *(w.shown(each) for each in arguments)]))
        else:
            if arguments and not any(w.ANY in each for each in arguments):
                self._variables |= {str(number): each for number, each in enumerate(arguments, 1)}
                self._variables["@"] = self._variables["*"] = w.SPLIT.join(arguments)
            self._statement(body)
        self._depth -= 1
        self._variables = {
            name: value for name, value in self._variables.items() if not name.isdigit() and name not in "@*"
        }
        self._variables |= {name: value for name, value in saved.items() if name.isdigit() or name in "@*"}

    def _for(self, node: Node) -> None:
        name = ""
        values: list[str] = []
        bodies: list[Node] = []
        for child in node.named_children:
            if child.type == "variable_name" and not name:
                name = text_of(child)
            elif child.type in _WORDS:
                values += w.finished(self._reader.raw(child))
            else:
                bodies.append(child)
        if not values or len(values) > _MAX_ROUNDS:
            values = [w.ANY]
        for value in values:
            self._variables[name] = value
            for body in bodies:
                self._statement(body)
        self._variables[name] = values[0] if len(values) == 1 else w.ANY

    def _assign(self, node: Node) -> None:
        name, value = self._assignment(node)
        self._remember(name, value)
        self._emit(SimpleCommand((), text_of(node), ((name, value),), (), None, self._cwd, self._outer, self._via))

    def _remember(self, name: str, value: str) -> None:
        """Set a variable; one that was something else before may be either, as branches are not told apart."""
        known = self._variables.get(name)
        same = (known is None or known == value) and len(value) <= _MAX_VALUE
        self._variables[name] = value if same else w.ANY

    def _assignment(self, node: Node) -> tuple[str, str]:
        name_node, *rest = node.named_children
        name = text_of(name_node).partition("[")[0]
        if not rest or rest[-1].type == "array" or "+=" in text_of(node)[: len(text_of(name_node)) + 2]:
            for child in rest:
                self._statement(child)
            return name, w.ANY if rest else ""
        value = self._reader.raw(rest[-1], quoted=True).replace(w.EMPTY, "").replace(w.SPLIT, " ")
        return name, value.replace(w.OPEN, "{").replace(w.COMMA, ",").replace(w.CLOSE, "}")

    def _variable(self, node: Node) -> str:
        """Return the value of an expansion, and visit what is substituted inside it."""
        names = [
            text_of(child) for child in node.named_children if child.type in ("variable_name", "special_variable_name")
        ]
        for child in node.named_children:
            if child.type not in ("variable_name", "special_variable_name", "subscript"):
                self._reader.raw(child)
        source = text_of(node)
        if source in ("$" + names[0], "${" + names[0] + "}") if names else False:
            name = names[0]
            if name in self._variables:
                return self._variables[name]
            known = {"HOME": "~", "PWD": self._cwd if self._cwd is not None else w.ANY, "TMPDIR": "/tmp", "IFS": " "}
            return (known[name] or ".") if name in known else ("0" if name in _HARMLESS_SPECIAL else w.ANY)
        if re.match(r"\$\{#\w+\}\Z", source):
            return "0"
        return w.ANY

    def _substitution(self, node: Node) -> str:
        first = len(self.commands)
        before, outer = self._stdin, self._outer
        if node.type == "process_substitution":
            self._stdin = None
        self._isolated(node)
        self._stdin, self._outer = before, outer
        if node.type == "process_substitution":
            return f"/dev/fd/{text_of(node)[:1]}"
        return captured(self.commands[first:], text_of(node))


_PATTERN_SIGNS = str.maketrans({w.STAR: "*", w.ONE: "?", w.EMPTY: None, w.SPLIT: " "})


def _output(commands: list[SimpleCommand], stdin: Stdin | None) -> Stdin:
    """Return what commands print, as the input of the next one."""
    text = printed(commands, stdin)
    name = commands[0].line if commands else "another command"
    return Stdin(text, name)


def _as_wrapper(command: SimpleCommand) -> SimpleCommand:
    return msgspec.structs.replace(command, is_wrapper=True)


def _as_quoted(command: SimpleCommand) -> SimpleCommand:
    return msgspec.structs.replace(command, is_quoted_code=True)


def _first_error(node: Node, text: str) -> str:
    while node.has_error and not (node.is_error or node.is_missing):
        node = next((child for child in node.children if child.has_error or child.is_missing), node)
        if node.child_count == 0:
            break
    return text_of(node).strip().split("\n", 1)[0] or text.strip().split("\n", 1)[0]
