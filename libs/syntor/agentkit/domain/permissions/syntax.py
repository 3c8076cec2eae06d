"""Reads the words of a command off its syntax tree: quotes, escapes, expansions."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from syntor.agentkit.domain.permissions import words as w

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Parser, Tree

_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "e": "\x1b", "E": "\x1b",
    "\\": "\\", "'": "'", '"': '"', "?": "?",
}  # fmt: skip
_ANSI = re.compile(
    r"\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|([0-7]{1,3})|c(.)|(.))", re.DOTALL
)
_UNQUOTED = {"*": w.STAR, "?": w.ONE, "{": w.OPEN, ",": w.COMMA, "}": w.CLOSE, "[": w.LEFT, "]": w.RIGHT}
# Some ill-formed texts of this length take seconds and 140 MB, and four times as long ones 16 times as much.
_MAX_BYTES = 16 * 1024
_MAX_SIGNS = {"|": 1000, "()": 500, "((": 1000, "<<": 300}  # what the grammar takes quadratic time or memory for
_MAX_STEPS = 5000  # calls of the parser's progress callback; a script of 16 KiB takes some 100
_MAX_REPAIRED_BYTES = 4096  # what follows an error is guessed in quadratic time
# To bash each character outside ASCII is a part of a word. The grammar's scanner takes some for spaces, and looks up
# others (`{` and a character above U+FFFF) behind the end of a table, which ends the process.
_AS_WORDS = bytes(range(128)) + b"." * 128
SUBSTITUTIONS = ("command_substitution", "process_substitution")


@functools.cache
def _language() -> Language:
    import tree_sitter_bash
    from tree_sitter import Language

    return Language(tree_sitter_bash.language())


def bash_parser() -> Parser:
    """Return a parser of its own, as calls are judged in several threads; the first one loads the grammar."""
    from tree_sitter import Parser

    return Parser(_language())


def parse(text: str) -> Tree | None:
    """Return the syntax tree of a script; None: it is too long, or long and ill-formed, to read in a short time."""
    data = text.encode("utf-8", "replace")
    if len(data) > _MAX_BYTES or any(text.count(sign) > most for sign, most in _MAX_SIGNS.items()):
        return None
    source = data.translate(_AS_WORDS)
    steps, is_long = itertools.count(), len(data) > _MAX_REPAIRED_BYTES

    def read(offset: int, _: object) -> bytes:
        return source[offset : offset + 4096]

    def is_enough(_: int, has_error: bool) -> bool:
        return next(steps) > _MAX_STEPS or (has_error and is_long)

    try:  # only what is read through a callback can be ended half way
        tree = bash_parser().parse(read, progress_callback=is_enough)
    except ValueError:
        return None
    source = data  # the text of a node is read from now on
    return tree


def text_of(node: Node) -> str:
    """Return the source of a node."""
    return (node.text or b"").decode("utf-8", "replace")


def ansi(text: str) -> str:
    r"""Return what a `$'...'` stands for."""

    def decoded(found: re.Match[str]) -> str:
        hexadecimal = found[1] or found[2] or found[3]
        if hexadecimal or found[4]:
            code = int(hexadecimal, 16) if hexadecimal else int(found[4], 8) & 0xFF
            return chr(code) if 0 < code < 0x110000 and chr(code) not in w.RESERVED else w.ANY
        if found[5]:
            return w.ANY
        return _ESCAPES.get(found[6], "\\" + found[6])

    return _ANSI.sub(decoded, text)


def unquoted(text: str) -> str:
    """Return a raw word for text without quotes: escapes resolved, patterns and braces marked."""
    raw: list[str] = []
    position = 0
    while position < len(text):
        sign = text[position]
        if sign == "\\":
            position += 1
            escaped = text[position : position + 1]
            raw.append("" if escaped == "\n" else escaped + (w.EMPTY if not escaped else ""))
        else:
            raw.append(_UNQUOTED.get(sign, sign))
        position += 1
    return "".join(raw)


class WordReader:
    """Turns nodes into raw words; what variables and substitutions yield is the caller's to say."""

    def __init__(self, variable: Callable[[Node], str], substitution: Callable[[Node], str]) -> None:
        self._variable = variable
        self._substitution = substitution

    def raw(self, node: Node, *, quoted: bool = False) -> str:
        """Return the raw word of a node; see `words.finished`."""
        match node.type:
            case "word" | "extglob_pattern" | "brace_expression" | "number" | "special_variable_name":
                return unquoted(text_of(node))
            case "raw_string":
                return text_of(node)[1:-1] + w.EMPTY
            case "ansi_c_string":
                return ansi(text_of(node)[2:-1]) + w.EMPTY
            case "string":
                return self._string(node) + w.EMPTY
            case "translated_string" | "command_name" | "parenthesized_expression":
                return "".join(self.raw(child) for child in node.named_children)
            case "concatenation":
                return self._joined(node, unquoted)
            case "simple_expansion" | "expansion":
                return self._split(self._variable(node), quoted)
            case "command_substitution":
                return self._split(self._substitution(node), quoted)
            case "process_substitution":
                return self._substitution(node)
            case "arithmetic_expansion":
                self._nested(node)
                return "0"
            case _:
                self._nested(node)
                return unquoted(text_of(node))

    def _split(self, value: str, quoted: bool) -> str:
        return value if quoted else re.sub(r"\s+", w.SPLIT, value.replace("*", w.STAR).replace("?", w.ONE))

    def _string(self, node: Node) -> str:
        return self._joined(node, _unescaped, skip=1, quoted=True)

    def _joined(self, node: Node, gap: Callable[[str], str], *, skip: int = 0, quoted: bool = False) -> str:
        """Return the children's texts with what stands between them, which the tree leaves out."""
        source, start = node.text or b"", node.start_byte
        position, raw = start + skip, ""
        for child in node.children:
            if child.type == "string_content" or not child.is_named:
                continue
            raw += gap(source[position - start : child.start_byte - start].decode("utf-8", "replace"))
            raw += self.raw(child, quoted=quoted)
            position = child.end_byte
        end = len(source) - skip
        return raw + gap(source[position - start : end].decode("utf-8", "replace"))

    def _nested(self, node: Node) -> None:
        """Visit the substitutions inside something whose value does not matter."""
        for child in node.named_children:
            if child.type in SUBSTITUTIONS:
                self._substitution(child)
            else:
                self._nested(child)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([$`\"\\\n])", lambda found: "" if found[1] == "\n" else found[1], text)
