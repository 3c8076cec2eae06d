"""`syntor usage`: what model calls used."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from syntor.cli.output import ExitCode, Format, fail, print_json, table
from syntor.cli.runs_commands import asked

GROUPS = ("day", "model", "agent", "session", "run")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("usage")(usage)


def usage(
    by: Annotated[str, typer.Option("--by", help="day, model, agent, session or run.")] = "model",
    run: Annotated[str, typer.Option("--run", help="Only of this run.")] = "",
    session: Annotated[str, typer.Option("--session", help="Only of this session.")] = "",
    output: Annotated[Format, typer.Option("--output", "-o", help="text or json.")] = Format.TEXT,
) -> None:
    """Sum up tokens, money and seconds of model calls."""
    if by not in GROUPS:
        fail(f"--by {by}: expected one of {', '.join(GROUPS)}", ExitCode.USAGE)
    if run:
        from syntor.cli.client import open_client

        run = open_client().resolve_run(run)
    report = asked("/v1/usage", group_by=by, run_id=run, session_id=session)
    if output is not Format.TEXT:
        print_json(report)
        return
    rows = sorted(report["rows"], key=lambda row: str(row["key"])) if by == "day" else report["rows"]
    if not rows:
        print("no model was called yet")
        return
    lines = [_line(row["key"], row) for row in rows]
    if len(rows) > 1:
        names = ("input_tokens", "output_tokens", "cached_input_tokens", "cost_microusd")
        total = {name: sum(row["usage"].get(name, 0) for row in rows) for name in names}
        sums = {"calls": sum(row["calls"] for row in rows), "duration_s": sum(row["duration_s"] for row in rows)}
        lines.append(_line("total", {"usage": total, **sums}))
    print(table((by.upper(), "CALLS", "INPUT", "CACHED", "OUTPUT", "COST", "SECONDS"), lines))


def _line(key: str, row: dict[str, Any]) -> tuple[str, ...]:
    used: dict[str, int] = row["usage"]
    return (
        key,
        str(row["calls"]),
        str(used.get("input_tokens", 0)),
        str(used.get("cached_input_tokens", 0)),
        str(used.get("output_tokens", 0)),
        f"${used.get('cost_microusd', 0) / 1e6:.4f}",
        f"{row['duration_s']:.1f}",
    )
