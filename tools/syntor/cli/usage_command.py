"""`syntor usage`: tokens and cost of model calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from syntor.cli.api import open_api
from syntor.cli.output import ExitCode, Format, fail, print_json, table
from syntor.contracts.rpc.v1 import UsageRow
from syntor.contracts.task.v1 import Usage
from syntor.contracts.vocabulary import USAGE_GROUPS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("usage")(usage)


def usage(
    by: Annotated[str, typer.Option("--by", help=f"One of {', '.join(USAGE_GROUPS)}.")] = "model",
    run: Annotated[str, typer.Option("--run", help="Only this run.")] = "",
    session: Annotated[str, typer.Option("--session", help="Only this session.")] = "",
    output: Annotated[Format, typer.Option("--output", "-o", help="text or json.")] = Format.TEXT,
) -> None:
    """Sum up tokens, cost and duration of model calls."""
    if by not in USAGE_GROUPS:
        fail(f"--by {by}: expected one of {', '.join(USAGE_GROUPS)}", ExitCode.USAGE)
    api = open_api()
    report = api.usage(group_by=by, run_id=api.resolve_run(run) if run else "", session_id=session)
    if output is not Format.TEXT:
        print_json(report)
        return
    if not report.rows:
        print("no model was called yet")
        return
    rows = sorted(report.rows, key=lambda row: row.key) if by == "day" else report.rows
    lines = [_line(row) for row in rows]
    if len(rows) > 1:
        lines.append(_line(_total(rows)))
    print(table((by.upper(), "CALLS", "INPUT", "CACHED", "OUTPUT", "COST", "SECONDS"), lines))


def _total(rows: Sequence[UsageRow]) -> UsageRow:
    used = Usage(
        input_tokens=sum(row.usage.input_tokens for row in rows),
        output_tokens=sum(row.usage.output_tokens for row in rows),
        cached_input_tokens=sum(row.usage.cached_input_tokens for row in rows),
        cost_microusd=sum(row.usage.cost_microusd for row in rows),
    )
    calls, duration_s = sum(row.calls for row in rows), sum(row.duration_s for row in rows)
    return UsageRow(key="total", calls=calls, usage=used, duration_s=duration_s)


def _line(row: UsageRow) -> tuple[str, ...]:
    return (
        row.key,
        str(row.calls),
        str(row.usage.input_tokens),
        str(row.usage.cached_input_tokens),
        str(row.usage.output_tokens),
        f"${row.usage.cost_microusd / 1e6:.4f}",
        f"{row.duration_s:.1f}",
    )
