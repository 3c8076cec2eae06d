"""Shell completion of command lines. Loads typer only after the first word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from syntor.cli.app import COMMANDS, build
from syntor.cli.completion_values import values_for


def complete(words: list[str]) -> str:
    """Return candidates for the last of `words`, one per line, each with a tab and its description.

    Args:
        words: what follows `syntor` on the line; the last one is being typed and may be empty.
    """
    *before, typed = words or [""]
    if not before:
        found = {name: command.help for name, command in COMMANDS.items() if command.help}
    elif before[0] in COMMANDS:
        found = _following(before, typed)
    else:
        found = {}
    return "".join(f"{name}\t{text}\n" for name, text in found.items() if name.startswith(typed))


def _following(before: list[str], typed: str) -> dict[str, str]:
    """Return candidates after a command: its subcommands, or its options and arguments."""
    import typer.main

    command = typer.main.get_command(build(before[0]))
    context = command.make_context("syntor", before, resilient_parsing=True)
    for word in before:
        inner = getattr(command, "commands", {}).get(word)
        if inner is not None:
            command = inner
            context = command.make_context(word, [], parent=context, resilient_parsing=True)
    if option := _option_before(command.params, before[-1]):
        return values_for(str(option.name), typed) or _choices(option, context, typed)
    found: dict[str, str] = {}
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            found[name] = (inner.help or "").strip().partition("\n")[0]
    for parameter in command.params:
        if typed.startswith("-"):
            for option in [*parameter.opts, *parameter.secondary_opts]:
                if option.startswith("-"):
                    found[option] = getattr(parameter, "help", "") or ""
        elif parameter.param_type_name == "argument":
            found |= values_for(parameter.name or "", typed)
            found |= _choices(parameter, context, typed)
    return found


def _choices(parameter: Any, context: Any, typed: str) -> dict[str, str]:
    """Return the values that the command itself knows."""
    return {item.value: item.help or "" for item in parameter.shell_complete(context, typed)}


def _option_before(parameters: Iterable[Any], word: str) -> Any:
    """Return the option whose value follows a word; None: none does."""
    for parameter in parameters:
        if word.startswith("-") and word in parameter.opts and not getattr(parameter, "is_flag", False):
            return parameter
    return None
