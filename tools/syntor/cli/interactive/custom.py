"""Custom commands: Markdown files with optional front matter. Broken files are reported, never skipped silently.

Sources, later ones win: those shipped, `<home>/commands`, and `.syntor/commands` of a trusted project.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, cast

import msgspec

from syntor.documents import Document, InvalidDocumentError, parse_yaml, read_as

SHIPPED = Path(__file__).parent / "commands"
PROJECT_FOLDER = ".syntor/commands"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")
_PLACEHOLDER = re.compile(r"\{\{\s*args\s*\}\}|\$ARGUMENTS(?![A-Za-z0-9_])|\$[1-9](?![0-9])")
_FENCE = re.compile(r"^---[ \t]*(?:\n|\Z)", re.MULTILINE)
MAX_BYTES = 256 * 1024
Text = Annotated[str, msgspec.Meta(max_length=1000)]


class FrontMatter(msgspec.Struct, frozen=True, rename="kebab"):
    """What stands between the `---` lines; other keys are ignored, so files of other tools work."""

    description: Text = ""
    """One line for lists of commands."""
    agent: Text = ""
    """Agent the message goes to; empty: the session's."""
    model: Text = ""
    """Model to use; empty: the session's."""
    argument_hint: Text = ""
    """What the arguments are, for lists of commands."""


class CustomCommand(msgspec.Struct, frozen=True):
    """One command."""

    name: str
    """Without the slash; nested folders are part of it: `team/x`."""
    path: Path
    front: FrontMatter
    template: str

    def fill(self, arguments: str) -> str:
        """Return the message for arguments: replaced in one pass, or appended where there is no placeholder.

        `{{args}}` and `$ARGUMENTS` are all of them; `$1` to `$9` are words, and quotes hold several words together.
        """
        words = _words(arguments)

        def value(match: re.Match[str]) -> str:
            mark = match[0]
            if mark[0] == "$" and mark[1:].isdigit():
                number = int(mark[1:])
                return words[number - 1] if number <= len(words) else ""
            return arguments

        filled, count = _PLACEHOLDER.subn(value, self.template)
        return f"{filled.rstrip()}\n\n{arguments}" if arguments and not count else filled.strip()


def _words(arguments: str) -> list[str]:
    try:
        return shlex.split(arguments)
    except ValueError:  # a quote that is not closed, as in: don't
        return arguments.split()


def parse_command(name: str, path: Path, text: str) -> CustomCommand:
    """Read a command file; a byte order mark and any line ends are accepted.

    A shipped command was validated by its test, so pydantic is loaded for commands of the user only.

    Raises:
        InvalidDocumentError: the front matter is wrong.
        ValueError: there is no end of the front matter, or no text.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    front = FrontMatter()
    if opening := _FENCE.match(text):
        closing = _FENCE.search(text, opening.end())
        if closing is None:
            raise ValueError("the front matter has no closing ---")
        head = text[opening.end() : closing.start()]
        front = _front(parse_yaml(head, str(path), root="front matter", first_line=2), path)
        text = text[closing.end() :]
    if not text.strip():
        raise ValueError("it has no text")
    return CustomCommand(name, path, front, text)


def _front(document: Document, path: Path) -> FrontMatter:
    document = msgspec.structs.replace(document, content=_known(document.content))
    if path.is_relative_to(SHIPPED):
        return msgspec.convert(document.content, FrontMatter)
    return read_as(document, FrontMatter)


def _known(content: object) -> object:
    """Return the keys of Syntor that have a value; `argument-hint: [file]` without quotes is a list to YAML."""
    if not isinstance(content, dict):
        return content
    given = cast("dict[str, object]", content)
    known = {key: given[key] for key in FrontMatter.__struct_encode_fields__ if given.get(key) is not None}
    if isinstance(hint := known.get("argument-hint"), list):
        known["argument-hint"] = str(cast("list[object]", hint)).replace("'", "")
    return known


def load_commands(home: Path, project: Path | None) -> tuple[dict[str, CustomCommand], list[str]]:
    """Return all commands by name, and a line for each error in those that are not usable."""
    found: dict[str, CustomCommand] = {}
    broken: list[str] = []
    for folder in [SHIPPED, home / "commands"] + ([project / PROJECT_FOLDER] if project else []):
        here: dict[str, CustomCommand] = {}
        for path in _files(folder, broken):
            try:
                command = _read(path, folder)
                if command.name in here:
                    raise ValueError(f"/{command.name} is already {here[command.name].path}")
                here[command.name] = command
            except OSError as exc:
                broken.append(f"{path}: cannot be read: {exc.strerror}")
            except UnicodeDecodeError:
                broken.append(f"{path}: it is not UTF-8 text")
            except InvalidDocumentError as exc:
                broken += exc.problems
            except ValueError as exc:
                broken.append(f"{path}: {exc}")
        found |= here
    return found, broken


def _files(folder: Path, broken: list[str]) -> Iterator[Path]:
    def unreadable(exc: OSError) -> None:
        if not isinstance(exc, FileNotFoundError):
            broken.append(f"{exc.filename}: cannot be read: {exc.strerror}")

    for current, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(".md") and not name.startswith("."):
                yield Path(current) / name


def _read(path: Path, folder: Path) -> CustomCommand:
    name = path.relative_to(folder).with_suffix("").as_posix().lower()
    if not all(_NAME.match(part) for part in name.split("/")):
        raise ValueError("a name is letters, digits, '_' and '-'")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES // 1024} KiB")
    return parse_command(name, path, data.decode("utf-8"))


def problems(home: Path, project: Path | None) -> list[str]:
    """Return a line for each error in custom commands."""
    return load_commands(home, project)[1]
