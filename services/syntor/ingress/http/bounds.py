"""Bounds that only requests have, beside those of the contracts.

Each pattern has a sentence for people, for error texts. Patterns mean the same in Python and in ECMAScript, which JSON
Schema uses.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from syntor.contracts.bounds import MAX_ID, TOKEN_PATTERN, Line, Message, Name, Position
from syntor.contracts.permissions import BUILT_IN_TOOLS
from syntor.contracts.rpc.v1 import PageSize

MAX_BODY_TEXT = 1_000_000  # characters; a body has at most 1 MiB

_OPTIONAL_TOKEN = "^[A-Za-z0-9_-]{0,64}$(?!\\n)"
_TEXT = "[^\\s\\x1c-\\x1f\\x85\\ufeff]"  # the white space of both languages
_ABSOLUTE_PATH = "^(/[^\\x00]*)?$(?!\\n)"
_TOOL = f"({'|'.join(BUILT_IN_TOOLS)}|mcp_[A-Za-z0-9_*-]*|[A-Za-z0-9_-]*\\*[A-Za-z0-9_*-]*)"
_RULE = f"^[ \\t\\r\\n]*{_TOOL}(\\([\\s\\S]+\\))?[ \\t\\r\\n]*$"
_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_H = "[0-9A-Fa-f]{1,4}"
_IPV6 = "|".join(
    [
        f"({_H}:){{7}}{_H}",
        f"({_H}:){{1,7}}:",
        *(f"({_H}:){{1,{7 - tail}}}(:{_H}){{1,{tail}}}" for tail in range(1, 7)),
        f":((:{_H}){{1,7}}|:)",
    ]
)
_USER = "([A-Za-z0-9._~%!$&'()*+,;=:-]*@)?"
_HTTP_URL = f"^https?://{_USER}([A-Za-z0-9._-]+|\\[({_IPV6})\\])(:({_PORT}))?([/?#][!-~]*)?$(?!\\n)"
_FILTER_TOKEN = "([A-Za-z0-9_-]{1,64}|\\*)"
_FILTER = f"^((syntor\\.events\\.|(?!syntor(\\.|$)))({_FILTER_TOKEN}(\\.{_FILTER_TOKEN})*(\\.>)?|>))?$(?!\\n)"

FORMS = {
    TOKEN_PATTERN: "use 1 to 64 of the characters a-z, A-Z, 0-9, '_' and '-'",
    _OPTIONAL_TOKEN: "use 1 to 64 of the characters a-z, A-Z, 0-9, '_' and '-'",
    _TEXT: "empty; expected a text that is not only white space",
    _ABSOLUTE_PATH: "expected an absolute path",
    _RULE: f"expected `tool` or `tool(pattern)`, such as bash(make *); tools are {', '.join(BUILT_IN_TOOLS)}, mcp_*",
    _HTTP_URL: "expected an http:// or https:// URL",
    _FILTER: "expected a subject filter such as 'run.*.run_done' or 'syntor.events.run.>'",
}
"""What a text has to look like, by its pattern."""

OptionalToken = Annotated[str, Meta(pattern=_OPTIONAL_TOKEN, max_length=64)]
"""An id, or empty for none."""
AgentName = Annotated[str, Meta(min_length=1, max_length=64)]
"""Id or alias of an agent."""
Title = Annotated[Name, Meta(min_length=1)]
BodyText = Annotated[str, Meta(max_length=MAX_BODY_TEXT)]
RequiredText = Annotated[str, Meta(pattern=_TEXT, max_length=MAX_BODY_TEXT)]
"""A text with something other than white space."""
AbsolutePath = Annotated[Line, Meta(pattern=_ABSOLUTE_PATH)]
"""An absolute path, or empty for none."""
Rules = Annotated[list[Annotated[Line, Meta(pattern=_RULE)]], Meta(max_length=1000)]
"""Permission rules."""
Reason = Annotated[Message, Meta(description="For people, and for the agent.")]
HttpUrl = Annotated[Line, Meta(pattern=_HTTP_URL)]
SubjectFilter = Annotated[str, Meta(pattern=_FILTER, max_length=500)]
"""A NATS subject filter of events, or empty for all."""
IdempotencyKey = Annotated[str, Meta(max_length=MAX_ID)]

Cursor = Annotated[Position, Meta(description="The `cursor` of the previous page; 0: first page.")]
Limit = Annotated[PageSize, Meta(description="Largest number of items.")]
IdFilter = Annotated[str, Meta(max_length=64)]
"""Id or alias to filter by; empty: no filter."""
