"""`syntor tokens`: bearer tokens of the HTTP API."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Annotated

import typer

from syntor.cli.output import Format, print_json, table
from syntor.contracts.ceiling import NO_CEILING, ORDER
from syntor.contracts.errors import InvalidInputError
from syntor.contracts.run.v1 import Ceiling
from syntor.runtime.tokens import SCOPES, create_token, read_tokens, revoke_token
from syntor.stack.layout import home_folder


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Bearer tokens of the HTTP API.", no_args_is_help=True)
    group.command("create")(create)
    group.command("list")(list_tokens)
    group.command("revoke")(revoke)
    app.add_typer(group, name="tokens")


def create(
    name: Annotated[str, typer.Argument(help="Name of the holder.")],
    scope: Annotated[list[str], typer.Option("--scope", help=f"{', '.join(SCOPES)}; repeatable.")],
    days: Annotated[float | None, typer.Option("--days", help="Days until it expires; default: never.")] = None,
    max_mode: Annotated[
        str, typer.Option("--max-mode", help=f"Highest mode of its runs: {', '.join(ORDER)}.")
    ] = "auto",
    workspace: Annotated[
        list[str] | None, typer.Option("--workspace", help="Folder its runs may work in or below; repeatable.")
    ] = None,
) -> None:
    """Create a token and print it once; it cannot be shown again."""
    ceiling = _ceiling(max_mode, workspace or [])
    _, text = create_token(home_folder(os.environ), name, scope, days, datetime.now(UTC), ceiling)
    print(text)


def list_tokens(
    output: Annotated[Format, typer.Option("--output", "-o", help="text or json.")] = Format.TEXT,
) -> None:
    """List tokens, without their secrets."""
    tokens = read_tokens(home_folder(os.environ))
    if output is not Format.TEXT:
        shown = [
            {"id": t.id, "name": t.name, "scopes": t.scopes, "ceiling": t.ceiling}
            | {"created_at": t.created_at, "expires_at": t.expires_at}
            for t in tokens
        ]
        print_json({"tokens": shown})
        return
    now = datetime.now(UTC)
    rows = [
        (
            t.id,
            t.name,
            " ".join(t.scopes),
            _most(t.ceiling),
            t.created_at.strftime("%Y-%m-%d"),
            _until(t.expires_at, now),
        )
        for t in tokens
    ]
    print(
        table(("ID", "NAME", "SCOPES", "AT MOST", "CREATED", "EXPIRES"), rows)
        if rows
        else "no tokens; on this machine the key file is used"
    )


def revoke(token: Annotated[str, typer.Argument(help="Id or name.")]) -> None:
    """Revoke a token immediately."""
    revoked = revoke_token(home_folder(os.environ), token)
    print(f"revoked {revoked.id} ({revoked.name})")


def _ceiling(max_mode: str, workspaces: list[str]) -> Ceiling | None:
    """Return the ceiling of a token; None: none is given."""
    if max_mode not in ORDER:
        raise InvalidInputError(f"mode {max_mode!r}: expected one of {', '.join(ORDER)}", field="max-mode")
    folders = [os.path.realpath(os.path.expanduser(each)) for each in workspaces]
    if unknown := [each for each in folders if not os.path.isdir(each)]:
        raise InvalidInputError(f"workspace {unknown[0]}: no such folder", field="workspace")
    ceiling = Ceiling(max_mode=max_mode, workspaces=folders)
    return None if ceiling == NO_CEILING else ceiling


def _most(ceiling: Ceiling | None) -> str:
    if ceiling is None:
        return "-"
    return f"mode {ceiling.max_mode}" + (f" in {' '.join(ceiling.workspaces)}" if ceiling.workspaces else "")


def _until(expires_at: datetime | None, now: datetime) -> str:
    if expires_at is None:
        return "never"
    return expires_at.strftime("%Y-%m-%d") + (" (expired)" if expires_at <= now else "")
