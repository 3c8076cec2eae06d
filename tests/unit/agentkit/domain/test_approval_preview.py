"""The request for an approval holds the whole of what would happen."""

from __future__ import annotations

from datetime import UTC, datetime

from syntor.agentkit.domain.approval import approval_required
from syntor.agentkit.domain.tool_policy import Verdict
from syntor.contracts.task.v1 import ToolCall


def test_a_long_preview_is_not_cut() -> None:
    command = "true\n" * 2000 + "rm -rf data"
    call = ToolCall(id="c1", name="bash")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    required = approval_required(
        "t1", call, Verdict("require_approval", "rule", ""), subject="x", preview=command, at=at
    )
    assert required.preview == command
