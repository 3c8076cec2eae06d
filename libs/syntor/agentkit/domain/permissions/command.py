"""What parsing a command yields: its simple commands, one after the other, each with what surrounds it."""

from __future__ import annotations

import msgspec

from syntor.agentkit.domain.permissions.words import shown


class Redirection(msgspec.Struct, frozen=True):
    """A file a command's input or output is connected to."""

    operator: str
    """`>`, `>>`, `>|`, `<`, `&>`, `<>` and so on."""
    target: str
    """Word that names the file."""

    @property
    def writes(self) -> bool:
        """Return whether the file is written to."""
        return ">" in self.operator


class Stdin(msgspec.Struct, frozen=True):
    """What a command reads from its standard input."""

    text: str | None
    """The text, where it is in the command; None: what another command prints, or a file."""
    source: str = ""
    """Command that prints it."""


class SimpleCommand(msgspec.Struct, frozen=True):
    """One program that is run, with its arguments."""

    words: tuple[str, ...]
    """Name and arguments, quotes resolved; empty: only redirections or assignments."""
    source: str
    """As it was written, for people."""
    assignments: tuple[tuple[str, str], ...] = ()
    """Variables set for it: name and value."""
    redirections: tuple[Redirection, ...] = ()
    stdin: Stdin | None = None
    """None: nothing of its own."""
    cwd: str | None = ""
    """Folder it runs in, relative to the workspace or absolute; None: known only when it runs."""
    outer: tuple[tuple[tuple[str, ...], int], ...] = ()
    """The commands it is wrapped in, such as `timeout 5 git push`, each with the number of words before its own."""
    via: str = ""
    """File it stands in, or what else it was found in; empty: the command itself."""
    is_wrapper: bool = False
    """Whether it only runs another command that was found as well."""
    is_quoted_code: bool = False
    """Whether it is a text inside code of another language, which may be run."""

    @property
    def name(self) -> str:
        """Return the program's name without folders; empty where there is none."""
        return self.words[0].rpartition("/")[2] if self.words else ""

    @property
    def line(self) -> str:
        """Return its words on a line, for people."""
        return " ".join(shown(word) for word in self.words) or self.source


class ParsedCommand(msgspec.Struct, frozen=True):
    """A whole command."""

    text: str
    commands: tuple[SimpleCommand, ...]
    """In the order they are written."""
    problem: str = ""
    """Why not all of it is understood; empty: it is."""
    forbidden: str = ""
    """Why the shape itself is forbidden: it forks without limit."""
