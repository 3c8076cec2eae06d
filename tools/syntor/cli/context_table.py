"""What a prompt held, as text: its parts with their tokens, the model's context, and what is free."""

from __future__ import annotations

from syntor.cli.output import table
from syntor.contracts.http.v1 import SessionContext


def context_text(context: SessionContext) -> str:
    """Return a table of the parts and a line with the whole."""
    window = context.window_tokens
    rows = [
        (
            part.name,
            f"{part.tokens:,}" if part.tokens else "",
            _share(part.tokens, window),
            part.note,
        )
        for part in context.parts
    ]
    used = context.input_tokens or context.prompt_tokens
    how = "counted by the provider" if context.input_tokens else "estimated"
    cached = f", {context.cached_input_tokens:,} from its cache" if context.cached_input_tokens else ""
    free = f", {max(0, window - used):,} free" if window else ""
    whole = f"{context.model}: {used:,} of {window:,} tokens ({how}{cached}){free}"
    return table(("PART", "TOKENS", "SHARE", "NOTE"), rows) + "\n" + whole


def _share(tokens: int, window: int) -> str:
    return f"{tokens / window:.0%}" if tokens and window else ""
