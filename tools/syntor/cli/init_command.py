"""`syntor init`: creates a configuration in four steps: list providers, choose one, assign models, save."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from syntor.cli.output import ExitCode, fail
from syntor.cli.project import configuration
from syntor.cli.provider_state import Providers
from syntor.contracts.topology import BUILT_IN_AGENTS
from syntor.models.catalog import default_model
from syntor.models.inference import HOSTED_PROVIDERS, ModelRef
from syntor.stack.layout import Layout, home_folder


def register(app: typer.Typer) -> None:
    """Add `init`."""
    app.command()(init)


def init(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not prompt; keep what is configured.")] = False,
) -> None:
    """Set up Syntor in four steps; existing values are overwritten only after confirmation."""
    if not yes and not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail(
            "this command prompts, and there is no terminal",
            ExitCode.USAGE,
            "take the defaults: syntor init --yes",
        )
    home = home_folder(os.environ)
    providers = Providers(home, configuration(ask=False), os.environ)
    wizard = Wizard(home, providers, yes)
    wizard.list_providers()
    wizard.choose_provider()
    wizard.assign_models()
    wizard.save()


class Wizard:
    """The four steps; each prints its result."""

    def __init__(self, home: Path, providers: Providers, yes: bool) -> None:
        self._home = home
        self._providers = providers
        self._yes = yes
        self._before = configuration(ask=False)
        self._provider = self._before.inference.provider
        self._models: dict[str, str] = {}

    def list_providers(self) -> None:
        """Step 1: list the providers and their state."""
        _print("1/4  Model providers")
        for name in self._providers.names():
            provider = self._providers.get(name)
            _print(f"  {'✓' if provider.usable else '-'} {name:<18} {provider.detail}")

    def choose_provider(self) -> None:
        """Step 2: choose where models run."""
        _print("\n2/4  Provider")
        names = self._providers.names()
        while True:
            reply = self._prompt("  Which one", self._provider)
            if reply in names:
                break
            _print(f"  no provider {reply!r}; expected one of: {', '.join(names)}")
        self._provider = reply
        provider = self._providers.get(reply)
        if not provider.usable:
            _print(f"  warning: {reply} cannot be used yet: {provider.detail}")

    def assign_models(self) -> None:
        """Step 3: give each agent a model."""
        _print("\n3/4  Models")
        for agent in BUILT_IN_AGENTS:
            proposed = self._proposed(agent)
            reply = self._prompt(f"  {agent:<14}", proposed.removeprefix(f"{self._provider}/"))
            while not reply:
                _print(f"  {self._provider} has no default: name a model")
                reply = self._prompt(f"  {agent:<14}", "")
            self._models[agent] = str(ModelRef.parse(reply, self._provider))
        missing = {model for model in self._models.values() if self._providers.status(model) == "not pulled"}
        if missing and not self._before.inference.auto_pull:
            for model in sorted(missing):
                _print(f"  warning: {model} is not installed yet: syntor models pull {model}")

    def save(self) -> None:
        """Step 4: write the changes, after confirmation where a value would be overwritten.

        A model that is the provider's default is not written, so that it follows a later change of the provider.
        """
        from syntor.configuration.editing import set_value, unset_value

        _print("\n4/4  Save")
        path = Layout(self._home).config
        wanted: dict[str, str | None] = {"inference.provider": self._provider}
        for agent, model in self._models.items():
            is_default = model == default_model(self._provider, agent)
            wanted[f"inference.models.{agent}"] = None if is_default else model
        changes = {name: text for name, text in wanted.items() if self._in_file(name) != text}
        overwritten = {name: old for name in changes if (old := self._in_file(name)) is not None}
        if not changes:
            _print(f"  {path} is unchanged")
        elif overwritten and not self._may_overwrite(path, overwritten, changes):
            _print("  nothing was changed")
            return
        for name, text in changes.items():
            if text is None:
                unset_value(path, name)
            else:
                set_value(path, name, text)
        if changes:
            _print(f"  saved {path}")
        _print('\n  Next:  syntor "what can you do?"')

    def _may_overwrite(self, path: Path, overwritten: dict[str, str], changes: dict[str, str | None]) -> bool:
        for name, old in overwritten.items():
            _print(f"  {name}: {old} → {changes[name] or 'the default of ' + self._provider}")
        return not self._yes and typer.confirm(f"  Overwrite these in {path}?", default=False)

    def _in_file(self, name: str) -> str | None:
        found = self._before.get(name)
        return str(found.value) if found is not None and found.layer == "user" else None

    def _proposed(self, agent: str) -> str:
        """Return the effective model, or the default of a newly chosen provider."""
        if self._provider == self._before.inference.provider:
            return self._before.model_for(agent)[0]
        proposed = default_model(self._provider, agent)
        return "" if proposed.endswith("/default") and self._provider in HOSTED_PROVIDERS else proposed

    def _prompt(self, question: str, default: str) -> str:
        if self._yes:
            if not default:
                fail(
                    f"{question.strip()}: {self._provider} has no default",
                    ExitCode.CONFIGURATION,
                    "run without --yes: syntor init",
                )
            _print(f"{question} [{default}]")
            return default
        return str(typer.prompt(question, default=default or None)).strip()


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
