r"""Bounded types of what requests carry. Each pattern has a sentence for people, used in errors and in the description.

Patterns are read the same by Python and by ECMAScript: `$(?!\n)` is the end of the text in both.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

MAX_POSITION = 2**63 - 1  # stream sequences and SQLite integers are signed 64-bit
MAX_TEXT = 1_000_000  # characters; a body has at most 1 MiB
MAX_NAME = 200
MAX_REASON = 2000
MAX_COUNT = 10**12  # tokens, or millionths of a dollar
MAX_WALL_TIME_S = 30 * 86400.0
MAX_TASK_TIME_S = 86400.0  # a day; longer work is several runs

_TOKEN = "^[A-Za-z0-9_-]{1,64}$(?!\\n)"
_OPTIONAL_TOKEN = "^[A-Za-z0-9_-]{0,64}$(?!\\n)"
_TEXT = "[^\\s\\x1c-\\x1f\\x85\\ufeff]"  # the white space of both languages
_ABSOLUTE_PATH = "^(/[^\\x00]*)?$(?!\\n)"
_RULE = "^[ \\t\\r\\n]*[A-Za-z0-9_*-]+(\\([\\s\\S]*\\))?[ \\t\\r\\n]*$"
_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_HTTP_URL = f"^https?://([^\\s/?#@]*@)?([^\\s/?#@:\\[\\]]+|\\[[0-9A-Fa-f:.]+\\])(:({_PORT}))?([/?#]\\S*)?$(?!\\n)"
_FILTER_TOKEN = "([A-Za-z0-9_-]{1,64}|\\*)"
_FILTER = f"^((syntor\\.events\\.|(?!syntor(\\.|$)))({_FILTER_TOKEN}(\\.{_FILTER_TOKEN})*(\\.>)?|>))?$(?!\\n)"

FORMS = {
    _TOKEN: "use 1 to 64 of the characters a-z, A-Z, 0-9, '_' and '-'",
    _OPTIONAL_TOKEN: "use 1 to 64 of the characters a-z, A-Z, 0-9, '_' and '-'",
    _TEXT: "empty; expected a text that is not only white space",
    _ABSOLUTE_PATH: "expected an absolute path",
    _RULE: "expected `tool` or `tool(pattern)`, such as bash(make *)",
    _HTTP_URL: "expected an http:// or https:// URL",
    _FILTER: "expected a subject filter such as 'run.*.run_done' or 'syntor.events.run.>'",
}
"""What a text has to look like, by its pattern."""

Token = Annotated[str, Meta(pattern=_TOKEN, max_length=64)]
"""An id: one token of a subject."""
OptionalToken = Annotated[str, Meta(pattern=_OPTIONAL_TOKEN, max_length=64)]
"""An id, or empty for none."""
Name = Annotated[str, Meta(min_length=1, max_length=64)]
"""Id or alias of an agent."""
Title = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
ShortText = Annotated[str, Meta(max_length=MAX_NAME)]
Reason = Annotated[str, Meta(max_length=MAX_REASON)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
RequiredText = Annotated[str, Meta(pattern=_TEXT, max_length=MAX_TEXT)]
"""A text with something other than white space."""
AbsolutePath = Annotated[str, Meta(pattern=_ABSOLUTE_PATH, max_length=4096)]
"""An absolute path, or empty for none."""
Rule = Annotated[str, Meta(pattern=_RULE, max_length=1000)]
"""A permission rule."""
HttpUrl = Annotated[str, Meta(pattern=_HTTP_URL, max_length=2000)]
SubjectFilter = Annotated[str, Meta(pattern=_FILTER, max_length=500)]
"""A NATS subject filter of events, or empty for all."""
Label = Annotated[str, Meta(min_length=1, max_length=100)]
Metadata = Annotated[dict[Label, Annotated[str, Meta(max_length=4000)]], Meta(max_length=100)]
"""Labels of the caller."""

Position = Annotated[int, Meta(ge=0, le=MAX_POSITION)]
"""A stream sequence; 0: before the first."""
Cursor = Annotated[int, Meta(ge=0, le=MAX_POSITION, description="The `cursor` of the previous page; 0: first page.")]
Count = Annotated[int, Meta(ge=1, le=MAX_COUNT)]
Limit = Annotated[int, Meta(ge=1, le=500, description="Largest number of items.")]
OptionalName = Annotated[str, Meta(max_length=64)]
"""Id or alias to filter by; empty: no filter."""
