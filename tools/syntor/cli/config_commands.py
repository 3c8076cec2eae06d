"""`syntor config`: shows and changes the configuration."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from syntor.cli.output import ExitCode, Format, fail, print_json, table
from syntor.cli.project import configuration
from syntor.configuration.keys import KEYS, all_names, canonical, find_key, parse, unknown_key
from syntor.configuration.layers import Value
from syntor.configuration.secret import masked
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.topology import AGENT_ALIASES, BUILT_IN_AGENTS
from syntor.runtime.private_files import make_private_folder, private
from syntor.stack.layout import Layout, home_folder

config = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
NOT_SET = Value("", "not set", "")
OutputOption = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]


def _names(incomplete: str) -> list[str]:
    return [name for name in all_names() if name.startswith(incomplete)]


KeyArgument = Annotated[str, typer.Argument(help="Dotted key, such as inference.provider.", autocompletion=_names)]


def register(app: typer.Typer) -> None:
    """Add the group `config`."""
    app.add_typer(config, name="config")


@config.callback()
def _config() -> None:
    """Show and change the configuration: defaults, your config.yaml, the project's, environment."""


@config.command()
def show(
    origin: Annotated[bool, typer.Option("--origin", help="Show the origin of each value.")] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Show every effective value; secrets are masked."""
    values = {key.name: NOT_SET for key in KEYS if "*" not in key.name} | configuration().values
    values = dict(sorted(values.items()))
    if output is not Format.TEXT:
        print_json(
            {name: {"value": _shown(name, found.value), "origin": found.origin} for name, found in values.items()}
            if origin
            else {name: _shown(name, found.value) for name, found in values.items()}
        )
        return
    rows = [[name, _text(_shown(name, found.value)), found.origin] for name, found in values.items()]
    headers = ["KEY", "VALUE", "ORIGIN"]
    sys.stdout.write(table(headers, rows) if origin else table(headers[:2], [row[:2] for row in rows]))
    sys.stdout.write("\n")


@config.command()
def get(key: KeyArgument, output: OutputOption = Format.TEXT) -> None:
    """Print one value; nothing when it is not set."""
    name = _known(key)
    found = configuration().get(name)
    if output is not Format.TEXT:
        print_json({"key": name, "value": found and found.value, "origin": found and found.origin})
    elif found is not None:
        sys.stdout.write(f"{_text(found.value)}\n")


@config.command("set")
def set_(
    key: KeyArgument,
    value: Annotated[str, typer.Argument(help="Value; a list is separated by commas.")],
) -> None:
    """Set a value in your config.yaml; comments and other values are kept."""
    from syntor.configuration.editing import set_value

    name = _known(key)
    found = find_key(name)
    assert found is not None
    try:
        parsed = parse(found, name, value)
    except ConfigurationError as exc:
        fail(str(exc), ExitCode.USAGE)
    path = Layout(home_folder(os.environ)).config
    set_value(path, name, parsed)
    sys.stdout.write(f"{name} = {_text(_shown(name, parsed))}  ({path})\n")
    in_force = configuration(ask=False).get(name)
    if in_force is not None and in_force.layer != "user":
        sys.stderr.write(f"note: {in_force.origin} overrides it here\n")


@config.command()
def edit() -> None:
    """Open your config.yaml in an editor; an invalid file is not saved."""
    import shlex
    import subprocess
    import tempfile

    from syntor.configuration.editing import write_text

    path = Layout(home_folder(os.environ)).config
    text = path.read_text(encoding="utf-8") if path.exists() else "# syntor config show --origin lists every key\n"
    editor = _editor()
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "config.yaml"
        draft.write_text(text, encoding="utf-8")
        try:
            code = subprocess.run([*shlex.split(editor), str(draft)], check=False).returncode
        except OSError as exc:
            fail(f"editor {editor!r} cannot be run: {exc}", ExitCode.CONFIGURATION, "set cli.editor, VISUAL or EDITOR")
        if code != 0:
            fail(f"editor {editor!r} ended with exit code {code}; nothing was changed", ExitCode.CONFIGURATION)
        changed = draft.read_text(encoding="utf-8")
    if changed == text:
        sys.stdout.write("nothing was changed\n")
        return
    try:
        write_text(path, changed)
    except ConfigurationError as exc:
        kept = path.with_name("config.rejected.yaml")
        make_private_folder(kept.parent)
        with open(kept, "w", encoding="utf-8", opener=private) as file:
            file.write(changed)
        fail(f"{exc}; {path} was not changed", ExitCode.CONFIGURATION, f"your text is in {kept}")
    sys.stdout.write(f"saved {path}\n")


@config.command()
def path() -> None:
    """Print the path of your config.yaml."""
    sys.stdout.write(f"{Layout(home_folder(os.environ)).config}\n")


@config.command()
def reset(
    key: Annotated[str, typer.Argument(help="Only this key; default: everything.", autocompletion=_names)] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not prompt.")] = False,
) -> None:
    """Reset to the defaults; the whole file is kept as config.yaml.bak."""
    from syntor.configuration.editing import unset_value

    path = Layout(home_folder(os.environ)).config
    if key:
        name = _known(key)
        sys.stdout.write(
            f"{name} is {'back to its default' if unset_value(path, name) else 'not set in ' + str(path)}\n"
        )
        return
    if not path.exists():
        sys.stdout.write(f"there is no {path}: the defaults are effective\n")
        return
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            fail("this resets the whole configuration", ExitCode.USAGE, "confirm with --yes")
        if not typer.confirm(f"Reset the whole of {path}?", err=True):
            raise typer.Exit(ExitCode.DONE)
    backup = path.with_name("config.yaml.bak")
    path.replace(backup)
    sys.stdout.write(f"the defaults are effective; the old file is {backup}\n")


@config.command()
def trust(
    folder: Annotated[Path, typer.Argument(help="Project folder; default: the one containing this folder.")] = Path(),
    no: Annotated[bool, typer.Option("--no", help="Do not trust it.")] = False,
) -> None:
    """Trust a project folder: use the configuration and commands in its .syntor folder."""
    from syntor.configuration.trust import PROJECT_FOLDER, Trust, find_project, remember

    home = home_folder(os.environ)
    project = find_project(folder.absolute(), home)
    if project is None:
        fail(f"no {PROJECT_FOLDER} folder in {folder.absolute()} or above it", ExitCode.USAGE)
    remember(home, project, Trust.REFUSED if no else Trust.TRUSTED)
    sys.stdout.write(f"{project} is {'not trusted' if no else 'trusted'}\n")


def _known(key: str) -> str:
    """Return the full path of a key; ends the command when there is no such key or agent."""
    name = canonical(key)
    if find_key(name) is None:
        fail(unknown_key(key), ExitCode.USAGE)
    stem, _, agent = name.rpartition(".")
    if stem in ("inference.models", "inference.fallbacks") and agent not in BUILT_IN_AGENTS:
        from syntor.cli.agent_names import registered_agents

        names = sorted({*BUILT_IN_AGENTS, *registered_agents()})
        if agent not in names:
            aliases = ", ".join(f"{alias} for {full}" for alias, full in AGENT_ALIASES.items())
            fail(f'no agent "{agent}"', ExitCode.USAGE, f"agents are {', '.join(names)} ({aliases})")
    return name


def _editor() -> str:
    try:
        found = configuration(ask=False).cli.editor
    except ConfigurationError:  # the file to be edited is invalid
        found = ""
    return found or os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"


def _shown(name: str, value: str | bool | list[str]) -> str | bool | list[str]:
    if isinstance(value, list):
        return [masked(name, part) for part in value]
    return masked(name, value) if isinstance(value, str) else value


def _text(value: str | bool | list[str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(value) if isinstance(value, list) else value
