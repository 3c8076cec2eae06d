"""Entry point of `syntor`: loads only the module of the called command, and maps errors to exit codes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from syntor.cli.standard_streams import discard_output, prepare_streams

_COMMAND_LIKE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
_SESSION_OPTIONS = (
    "-m",
    "--model",
    "--session",
    "--continue",
    "--mode",
)  # options of `syntor` without a command: those of a session
COMPLETE_VARIABLE = "_SYNTOR_COMPLETE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command the arguments name; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    try:
        code = _dispatch(given)
        sys.stdout.flush()
    except BrokenPipeError:  # `syntor ... | head`: the reader has closed the pipe
        discard_output()
        return 0
    except OSError as exc:  # commands report their own; this is what nothing could be written to
        discard_output()
        sys.stderr.write(f"error: {exc.strerror or exc}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130
    return code


def _dispatch(given: list[str]) -> int:
    if COMPLETE_VARIABLE in os.environ:
        from syntor.cli.completion import complete

        sys.stdout.write(complete(given))
        return 0
    first = given[0] if given else ""
    if first in ("--version", "-V", "version"):
        from syntor.cli.version import VERSION

        sys.stdout.write(f"syntor {VERSION}\n")
        return 0
    from syntor.cli.app import COMMANDS, overview

    if first in ("--help", "-h") or (first == "help" and len(given) == 1):
        sys.stdout.write(overview() + "\n")
        return 0
    if first == "help":
        return _dispatch([*given[1:], "--help"])
    _note_unread_variables()
    if first in COMMANDS:
        return _run(first, given)
    if problem := _not_a_session(given):
        sys.stderr.write(problem)
        return 2
    return _run("interactive", ["interactive", *given])


def _note_unread_variables() -> None:
    if any(name.startswith("SYNTOR_") for name in os.environ):
        from syntor.cli.environment_note import unread_variables

        for line in unread_variables(os.environ):
            sys.stderr.write(f"note: {line}\n")


def _not_a_session(given: list[str]) -> str:
    """Return why the arguments do not open a session; empty when they do."""
    first = given[0] if given else ""
    if first.startswith("-"):
        if first.partition("=")[0] in _SESSION_OPTIONS or first == "--" or first.startswith("-m"):
            return ""
        return f"error: no such option: {first}\n  syntor --help lists all\n"
    if not first or not _COMMAND_LIKE.match(first):
        return ""
    import difflib

    from syntor.cli.app import COMMANDS

    near = difflib.get_close_matches(first.lower(), COMMANDS, n=1, cutoff=0.6)
    meant = f"; did you mean `syntor {near[0]}`?" if near else ""
    text = " ".join(given).replace('"', '\\"')
    return f'error: unknown command "{first}"{meant}\n  to send it as a message: syntor chat "{text}"\n'


def _run(name: str, given: list[str]) -> int:
    """Load the module of a command and run it."""
    from syntor.cli.app import build
    from syntor.cli.problem import ProblemError
    from syntor.contracts.errors import ConfigurationError, InvalidInputError, NotReachableError, SyntorError
    from syntor.contracts.visible_text import visible

    try:
        build(name)(args=given, prog_name="syntor")
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
    except SyntorError as exc:
        sys.stderr.write(f"error: {visible(str(exc))}\n")
        if isinstance(exc, ProblemError):
            return int(exc.exit_code)
        if isinstance(exc, ConfigurationError):
            return 3
        if isinstance(exc, NotReachableError):
            return 4
        return 2 if isinstance(exc, InvalidInputError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
