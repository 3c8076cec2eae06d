"""Parses YAML and JSON into plain values, and keeps the line of every value.

Invariants: lines count from 1; a path is the keys and list indexes down to a value, each as text; a key that is set
twice is an error, because YAML and JSON parsers would silently keep the last one.
"""

from __future__ import annotations

import difflib
import json
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
import yaml

from syntor.contracts.errors import ConfigurationError

MAX_BYTES = 1024 * 1024
"""A larger file is refused: it is not one that a person wrote."""

_UNCONSTRUCTABLE = (ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError)
"""What PyYAML's constructors raise for a tag or date that does not fit its value, such as `!!bool foo`."""

FieldPath = tuple[str, ...]
Problem = tuple[FieldPath, str]
"""A field, and what is wrong with it."""
Rename = Callable[[FieldPath], str]
"""Returns the name under which a key counts, from its path as written; for aliases of keys."""

_TWICE = "is set twice"
_SHOWN = 80  # characters of a value that cannot be constructed
_TEXT, _NULL, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"
_TEXT_TAGS = ("tag:yaml.org,2002:bool", _NULL)
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+|\n')


class InvalidDocumentError(ConfigurationError):
    """A file is not of its form.

    Attributes:
        problems: one line for each error, in the order of the file; each names file, line, field and what is allowed.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Document(msgspec.Struct, frozen=True):
    """A parsed file."""

    source: str
    """How errors name the file."""
    content: object
    """Plain values: mappings, lists, texts, numbers, booleans and None."""
    lines: Mapping[FieldPath, int]
    """Line of each key's value, and of each list item."""
    repeated: tuple[Problem, ...] = ()
    """Keys that are set twice."""
    root: str = "the file"
    """How errors name the whole of it."""

    def line(self, path: FieldPath) -> int:
        """Return the line of a value; of what it is missing from, when it is not in the file."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1

    def name(self, path: FieldPath) -> str:
        """Return a path as errors show it, such as `rules[0].match`."""
        shown = "".join(f"[{part}]" if part.isdecimal() else f".{_printable(part)}" for part in path)
        return shown.removeprefix(".") or self.root

    def invalid(self, problems: Iterable[Problem]) -> InvalidDocumentError:
        """Return the error that lists problems, in the order of the file, each with file, line and field."""
        listed = sorted((self.line(path), self.name(path), reason) for path, reason in problems)
        return InvalidDocumentError([f"{self.source}, line {line}: {field}: {why}" for line, field, why in listed])


def _printable(text: str) -> str:
    """Return a key as errors show it: control characters escaped."""
    return text if text.isprintable() else repr(text)[1:-1]


def read_text(path: Path) -> str:
    """Return the text of a file, without a byte order mark.

    Raises:
        FileNotFoundError: there is no file.
        InvalidDocumentError: it cannot be read, is not UTF-8, or is too large.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would wait for its writer
            raise InvalidDocumentError([f"{path}: cannot be read: not a regular file"])
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise InvalidDocumentError([f"{path}: cannot be read: {exc.strerror or exc}"]) from exc
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line, byte = content.count(b"\n", 0, exc.start) + 1, content[exc.start]
        text = f"{path}, line {line}: byte {byte:#04x} is no UTF-8 text; save the file in UTF-8"
        raise InvalidDocumentError([text]) from exc
    if len(content) > MAX_BYTES:
        raise InvalidDocumentError([f"{path}: larger than {MAX_BYTES // 1024} KiB"])
    return text


def parse_yaml(
    text: str,
    source: str,
    *,
    root: str = "the file",
    first_line: int = 1,
    numbers_as_text: bool = False,
    rename: Rename | None = None,
) -> Document:
    """Parse one YAML document; an empty one is an empty mapping.

    Args:
        root: how errors name the whole of the text.
        first_line: line of the file on which `text` begins.
        numbers_as_text: numbers and dates stay the text they are written as.
        rename: resolves aliases of keys.

    Raises:
        InvalidDocumentError: the text is not one YAML document.
    """
    loader: yaml.SafeLoader | None = None
    node: yaml.Node | None = None
    try:
        loader = (_TextLoader if numbers_as_text else yaml.SafeLoader)(text)
        node = loader.get_single_node()
        if node is None or node.tag == _NULL:
            return Document(source, {}, {(): first_line}, root=root)
        walk = _Walk(first_line, rename)
        walk.visit(node, ())
        content: object = loader.construct_document(node)  # pyright: ignore[reportUnknownMemberType]
        return Document(source, content, walk.lines, tuple(walk.repeated), root)
    except yaml.MarkedYAMLError as exc:
        line = first_line + (exc.problem_mark.line if exc.problem_mark is not None else 0)
        reason = exc.problem or exc.context or "not YAML"
        raise InvalidDocumentError([f"{source}, line {line}: {reason}"]) from exc
    except yaml.reader.ReaderError as exc:
        line = first_line + text.count("\n", 0, exc.position)
        found = f"character {ord(text[exc.position]):#06x}" if exc.position < len(text) else exc.reason
        raise InvalidDocumentError([f"{source}, line {line}: {found} is not allowed; remove it"]) from exc
    except RecursionError as exc:
        raise InvalidDocumentError([f"{source}, line {first_line}: nested too deeply"]) from exc
    except (yaml.YAMLError, *_UNCONSTRUCTABLE) as exc:
        line, value = _unconstructable(loader, node, first_line)
        reason = " ".join(str(exc).split())
        raise InvalidDocumentError([f"{source}, line {line}: not YAML: {value}{reason}"]) from exc
    finally:
        if loader is not None:
            loader.dispose()


def _unconstructable(loader: yaml.SafeLoader | None, node: yaml.Node | None, first_line: int) -> tuple[int, str]:
    """Return the line of the first value that its tag or form does not fit, and the value for people."""
    pending = [node] if node is not None else []
    while pending:
        one = pending.pop()
        if isinstance(one, yaml.ScalarNode) and loader is not None:
            try:
                loader.construct_object(one)  # pyright: ignore[reportUnknownMemberType]
            except (yaml.YAMLError, *_UNCONSTRUCTABLE):
                return first_line + one.start_mark.line, f"{str(one.value)[:_SHOWN]!r}: "
        elif isinstance(one, yaml.SequenceNode):
            pending += reversed(one.value)
        elif isinstance(one, yaml.MappingNode):
            pending += [part for pair in reversed(one.value) for part in reversed(pair)]
    return first_line, ""


def parse_json(text: str, source: str) -> Document:
    """Parse one JSON value.

    Raises:
        InvalidDocumentError: the text is not JSON.
    """
    try:
        content: object = json.loads(text)
    except json.JSONDecodeError as exc:
        raise InvalidDocumentError([f"{source}, line {exc.lineno}: not JSON: {exc.msg}, column {exc.colno}"]) from exc
    except (RecursionError, ValueError) as exc:
        raise InvalidDocumentError([f"{source}: not JSON: {exc}"]) from exc
    lines, repeated = _json_lines(text)
    return Document(source, content, lines, tuple(repeated))


def nearest(name: str, known: Iterable[str], *, stem: str = "") -> str:
    """Return `did you mean ...?` for a mistyped name, or an empty text when no known name is near.

    Args:
        stem: what is put before the names in the text.
    """
    found = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(stem + each for each in found)}?" if found else ""


class _TextLoader(yaml.SafeLoader):
    """Resolves booleans and nulls only; everything else without quotes stays text."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _TEXT_TAGS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _Walk:
    """Collects the lines of a YAML tree; a node that several aliases share counts where it is first."""

    def __init__(self, first_line: int, rename: Rename | None) -> None:
        self.lines: dict[FieldPath, int] = {}
        self.repeated: list[Problem] = []
        self._first_line = first_line
        self._rename = rename
        self._visited: set[int] = set()

    def visit(self, node: yaml.Node, path: FieldPath, line: int | None = None) -> None:
        self.lines[path] = self._line(node) if line is None else line
        if id(node) in self._visited:
            return
        self._visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            self._visit_mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.visit(item, (*path, str(index)))

    def _visit_mapping(self, node: yaml.MappingNode, path: FieldPath) -> None:
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # the constructor refuses it, with its line
            if key.tag != _MERGE:
                key.tag = _TEXT  # `on`, `5` and the like are texts where they are keys
            if self._rename is not None:
                key.value = self._rename((*path, str(key.value)))
            name = str(key.value)
            if name in seen:
                self.repeated.append(((*path, name), _TWICE))
            seen.add(name)
            self.visit(value, (*path, name), self._line(key))

    def _line(self, node: yaml.Node) -> int:
        line: int = node.start_mark.line
        return self._first_line + line


def _json_lines(text: str) -> tuple[dict[FieldPath, int], list[Problem]]:
    """Return the line of every value of a valid JSON text, and the keys that are set twice."""
    lines: dict[FieldPath, int] = {(): 1}
    repeated: list[Problem] = []
    path: list[str] = []
    seen: list[set[str] | None] = []  # one per open bracket: the keys so far; None for a list
    line, key_expected = 1, False
    for token in _JSON_TOKEN.findall(text):
        if token[0] not in "\n}],:" and seen and seen[-1] is None:
            lines[tuple(path)] = line
        match token[0]:
            case "\n":
                line += 1
            case "{" | "[":
                seen.append(set() if token == "{" else None)
                path.append("0")
                key_expected = token == "{"
            case "}" | "]":
                seen.pop()
                path.pop()
                key_expected = False
            case "," if seen[-1] is None:
                path[-1] = str(int(path[-1]) + 1)
            case ",":
                key_expected = True
            case '"' if key_expected and (keys := seen[-1]) is not None:
                path[-1], key_expected = json.loads(token), False
                lines[tuple(path)] = line
                if path[-1] in keys:
                    repeated.append((tuple(path), _TWICE))
                keys.add(path[-1])
            case _:
                pass
    return lines, repeated
