"""Forms of hand-written files as msgspec Structs, whose bounds are `msgspec.Meta` annotations.

The Struct is what a process works with. Where a person wrote the file, pydantic validates it against a model derived
from the Struct (`models`), because pydantic lists all errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

EXPECTED = "expected"
"""Key of `msgspec.Meta.extra`, and type of the error: what a pattern allows, as people read it."""


class Check:
    """Annotation of a text that a function checks when the text was written by hand."""

    def __init__(self, check: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._check = check

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Return pydantic's schema of the text with the check; pydantic calls this."""
        from pydantic_core import core_schema

        def checked(text: str, info: core_schema.ValidationInfo[Any]) -> str:
            self._check(text, info.context or {})
            return text

        return core_schema.with_info_after_validator_function(checked, handler(source))


def matching(pattern: re.Pattern[str] | str, allowed: str, *, max_length: int | None = None) -> msgspec.Meta:
    """Return the annotation of a text that matches a pattern from its start; `allowed` describes it to people."""
    text = pattern if isinstance(pattern, str) else pattern.pattern
    return msgspec.Meta(pattern=rf"\A(?s:{text})", max_length=max_length, extra={EXPECTED: allowed})
