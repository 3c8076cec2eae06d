"""Custom commands: Markdown files with optional front matter. Broken files are reported, never skipped silently.

Sources, later ones win: those shipped, `<home>/commands`, and `.syntor/commands` of a trusted project.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import yaml

SHIPPED = Path(__file__).parent / "commands"
PROJECT_FOLDER = ".syntor/commands"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")
_PLACEHOLDER = re.compile(r"\{\{args\}\}|\$ARGUMENTS|\$[1-9]")


class FrontMatter(msgspec.Struct, frozen=True, rename="kebab"):
    """What stands between the `---` lines; other keys are ignored, so files of other tools work."""

    description: str = ""
    agent: str = ""
    model: str = ""
    argument_hint: str = ""


class CustomCommand(msgspec.Struct, frozen=True):
    """One command."""

    name: str
    """Without the slash; nested folders are part of it: `team/x`."""
    path: Path
    front: FrontMatter
    template: str

    def fill(self, arguments: str) -> str:
        """Return the message for arguments: replaced in one pass, or appended where there is no placeholder."""
        words = arguments.split()

        def value(match: re.Match[str]) -> str:
            mark = match[0]
            if mark[0] == "$" and mark[1:].isdigit():
                number = int(mark[1:])
                return words[number - 1] if number <= len(words) else ""
            return arguments

        filled, count = _PLACEHOLDER.subn(value, self.template)
        return f"{filled.rstrip()}\n\n{arguments}" if arguments and not count else filled.strip()


def parse_command(name: str, path: Path, text: str) -> CustomCommand:
    """Read a command file; a byte order mark and CRLF line ends are accepted.

    Raises:
        ValueError: the front matter is broken; says why.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    front = FrontMatter()
    if text.startswith("---\n"):
        head, separator, body = text[4:].partition("\n---")
        if not separator:
            raise ValueError("the front matter has no closing ---")
        try:
            front = msgspec.convert(yaml.safe_load(head) or {}, FrontMatter)
        except (yaml.YAMLError, msgspec.ValidationError) as exc:
            raise ValueError(" ".join(str(exc).split())) from exc
        text = body.partition("\n")[2]
    if not text.strip():
        raise ValueError("it has no text")
    return CustomCommand(name, path, front, text)


def load_commands(home: Path, project: Path | None) -> tuple[dict[str, CustomCommand], list[str]]:
    """Return all commands by name, and a line for each file that could not be read."""
    found: dict[str, CustomCommand] = {}
    broken: list[str] = []
    folders = [SHIPPED, home / "commands"] + ([project / PROJECT_FOLDER] if project else [])
    for folder in folders:
        for path in sorted(folder.rglob("*.md")):
            name = path.relative_to(folder).with_suffix("").as_posix().lower()
            try:
                if not all(_NAME.match(part) for part in name.split("/")):
                    raise ValueError("a name is letters, digits, '_' and '-'")
                found[name] = parse_command(name, path, path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as exc:
                broken.append(f"{path}: {exc}")
    return found, broken


def problems(home: Path, project: Path | None) -> list[str]:
    """Return a line for each custom command that cannot be read."""
    return load_commands(home, project)[1]
