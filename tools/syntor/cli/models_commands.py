"""`syntor models`: list, fetch and assign models."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from syntor.cli.output import ExitCode, Format, fail, print_json, table
from syntor.cli.project import configuration
from syntor.cli.provider_state import EMBEDDED, OLLAMA, Providers, embedded_models
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.topology import AGENT_ALIASES, BUILT_IN_AGENTS
from syntor.models.catalog import KNOWN_MODELS
from syntor.models.inference import ModelRef
from syntor.stack.layout import Layout, home_folder

models = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
OutputOption = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]


def _agents(incomplete: str) -> list[str]:
    return [name for name in (*BUILT_IN_AGENTS, *AGENT_ALIASES) if name.startswith(incomplete)]


def _models(incomplete: str) -> list[str]:
    return [name for model in KNOWN_MODELS if (name := f"{model.provider}/{model.name}").startswith(incomplete)]


ModelArgument = Annotated[
    str, typer.Argument(help="provider/name, or a name at the configured provider.", autocompletion=_models)
]


def register(app: typer.Typer) -> None:
    """Add the group `models`."""
    app.add_typer(models, name="models")


@models.callback()
def _group() -> None:
    """List, fetch and assign models."""


@models.command("list")
def list_(output: OutputOption = Format.TEXT) -> None:
    """List the known models and those installed in Ollama."""
    providers = _providers()
    rows: list[dict[str, str]] = []
    for known in KNOWN_MODELS:
        state = providers.status(f"{known.provider}/{known.name}")
        status = {"ready": "installed", "api": "api", "unknown": "api"}.get(state, "not pulled")
        rows.append(_listed(known.name, known.provider, known.parameters, status, known.description))
    named = {(row["model"], row["provider"]) for row in rows}
    for name in providers.get(OLLAMA).models:
        if (name, OLLAMA) not in named and (name.removesuffix(":latest"), OLLAMA) not in named:
            rows.append(_listed(name, OLLAMA, "-", "installed", "installed in Ollama"))
    _print("models", rows, ["model", "provider", "parameters", "status", "description"], output)


@models.command()
def status(output: OutputOption = Format.TEXT) -> None:
    """Show the model of each agent and whether it is installed."""
    from syntor.cli.agent_names import registered_agents

    found, providers = configuration(), _providers()
    rows: list[dict[str, str]] = []
    for agent in dict.fromkeys((*BUILT_IN_AGENTS, *registered_agents())):
        if agent not in BUILT_IN_AGENTS and found.get(f"inference.models.{agent}") is None:
            continue  # an external agent has its own model
        model, origin = found.model_for(agent)
        provider, _, name = model.partition("/")
        row = {"agent": agent, "model": name, "provider": provider, "status": providers.status(model)}
        rows.append(row | {"origin": origin})
    columns = ["agent", "model", "provider", "status"]
    _print("agents", rows, columns, output)
    if output is Format.TEXT:
        for line in dict.fromkeys(_fix(row, providers) for row in rows):
            sys.stdout.write(line)


@models.command()
def pull(model: ModelArgument) -> None:
    """Fetch a model and show progress; an installed one is not fetched again."""
    from syntor.cli import model_pull

    ref = _meant(model)
    providers = _providers()
    if ref.provider not in (EMBEDDED, OLLAMA):
        fail(f"models of {ref.provider} are hosted and cannot be fetched", ExitCode.USAGE)
    if ref.provider == EMBEDDED:
        model_pull.embedded(home_folder(os.environ), ref.name)
    else:
        provider = providers.get(OLLAMA)
        if not provider.usable:
            fail(provider.detail, ExitCode.NOT_REACHABLE)
        model_pull.ollama(configuration().inference.ollama_host, ref.name)
    sys.stdout.write(f"{ref} is installed\n")


@models.command()
def assign(
    agent: Annotated[str, typer.Argument(help="An agent, such as docs or worker_code.", autocompletion=_agents)],
    model: ModelArgument,
) -> None:
    """Assign a model to an agent from its next run on; saved in your config.yaml."""
    from syntor.cli.agent_names import registered_agents
    from syntor.configuration.editing import set_value

    name = AGENT_ALIASES.get(agent.lower(), agent.lower())
    known = list(dict.fromkeys((*BUILT_IN_AGENTS, *registered_agents())))
    if name not in known:
        aliases = ", ".join(f"{alias} for {full}" for alias, full in AGENT_ALIASES.items())
        fail(f"no agent {agent!r}", ExitCode.USAGE, f"agents are {', '.join(known)} ({aliases})")
    ref = _meant(model)
    set_value(Layout(home_folder(os.environ)).config, f"inference.models.{name}", str(ref))
    sys.stdout.write(f"{name} uses {ref} from its next run on\n")
    in_force, origin = configuration(ask=False).model_for(name)
    if in_force != str(ref):
        sys.stderr.write(f"note: {origin} sets {in_force} and overrides it here\n")
    state = _providers().status(str(ref))
    if state not in ("ready", "api"):
        sys.stderr.write(
            f"note: {ref} is {state}" + (f": syntor models pull {ref}\n" if state == "not pulled" else "\n")
        )


def _meant(model: str) -> ModelRef:
    """Return the model an argument names; ends the command when the provider or embedded model is unknown."""
    default_provider = configuration().inference.provider
    try:
        ref = ModelRef.parse(model, default_provider)
    except ConfigurationError as exc:
        fail(str(exc), ExitCode.USAGE)
    if ref.provider == EMBEDDED and ref.name not in embedded_models():
        fail(f"no embedded model {ref.name!r}", ExitCode.USAGE, f"there are: {', '.join(embedded_models())}")
    return ref


def _providers() -> Providers:
    return Providers(home_folder(os.environ), configuration(ask=False), os.environ)


def _listed(model: str, provider: str, parameters: str, status: str, description: str) -> dict[str, str]:
    return {
        "model": model,
        "provider": provider,
        "parameters": parameters,
        "status": status,
        "description": description,
    }


def _fix(row: dict[str, str], providers: Providers) -> str:
    """Return a line that tells how to get an agent's model; empty when it is installed."""
    model = f"{row['provider']}/{row['model']}"
    match row["status"]:
        case "not pulled":
            return f"fetch it: syntor models pull {model}\n"
        case "offline" | "unknown":
            return f"{row['provider']}: {providers.get(row['provider']).detail}\n"
        case _:
            return ""


def _print(name: str, rows: list[dict[str, str]], columns: list[str], output: Format) -> None:
    if output is not Format.TEXT:
        print_json({name: rows})
        return
    sys.stdout.write(table([column.upper() for column in columns], [[row[c] for c in columns] for row in rows]) + "\n")
