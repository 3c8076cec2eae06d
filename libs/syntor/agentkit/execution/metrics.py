"""Metrics of model and tool calls."""

from __future__ import annotations

from syntor.contracts.task.v1 import LlmCallDone, ToolResult
from syntor.metrics import Counter, Histogram
from syntor.models.inference import ModelRef

_MODEL_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
_MODEL = ("provider", "model")

_MODEL_CALLS = Counter(
    "syntor_model_calls_total", "Model calls by outcome: done, or the code of the error", ("agent", *_MODEL, "outcome")
)
_MODEL_SECONDS = Histogram("syntor_model_call_seconds", "Duration of model calls", _MODEL, _MODEL_BUCKETS)
_FIRST_TOKEN = Histogram(
    "syntor_model_first_token_seconds", "Time from call to first text of a completion", _MODEL, _MODEL_BUCKETS
)
_TOKENS = Counter("syntor_model_tokens_total", "Tokens by kind: input, output", ("agent", *_MODEL, "kind"))
_COST = Counter("syntor_model_cost_dollars_total", "Cost of model calls in US dollars", ("agent", *_MODEL))
_TOOL_CALLS = Counter(
    "syntor_tool_calls_total",
    "Tool calls by outcome: completed, failed, or why it did not run",
    ("agent", "tool", "outcome"),
)
_TOOL_SECONDS = Histogram(
    "syntor_tool_call_seconds", "Duration of tool calls that ran in this process", ("tool",), _MODEL_BUCKETS
)


def record_model_call(agent: str, ref: ModelRef, done: LlmCallDone) -> None:
    """Record a model call that completed."""
    labels = (ref.provider, ref.name)
    _MODEL_CALLS.labels(agent, *labels, "done").inc()
    _MODEL_SECONDS.labels(*labels).observe(done.duration_s)
    if done.first_token_s is not None:
        _FIRST_TOKEN.labels(*labels).observe(done.first_token_s)
    _TOKENS.labels(agent, *labels, "input").inc(done.usage.input_tokens)
    _TOKENS.labels(agent, *labels, "output").inc(done.usage.output_tokens)
    _COST.labels(agent, *labels).inc(done.usage.cost_microusd / 1e6)


def record_model_failure(agent: str, ref: ModelRef, code: str, duration_s: float) -> None:
    """Record a model call that failed."""
    _MODEL_CALLS.labels(agent, ref.provider, ref.name, code).inc()
    _MODEL_SECONDS.labels(ref.provider, ref.name).observe(duration_s)


def record_tool_call(agent: str, tool: str, result: ToolResult) -> None:
    """Record a tool call that has a result; `failed` is a tool that ran and reported an error."""
    outcome = "failed" if result.is_error and result.outcome == "completed" else result.outcome
    _TOOL_CALLS.labels(agent, tool, outcome).inc()
    if result.duration_s:
        _TOOL_SECONDS.labels(tool).observe(result.duration_s)
