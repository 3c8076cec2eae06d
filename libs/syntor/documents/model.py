"""What models of hand-written files are built from."""

from __future__ import annotations

import re

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

EXPECTED = "expected"
"""Type of the errors whose text is what is allowed; see `expectation`."""


class DocumentModel(BaseModel):
    """A mapping in a file: no unknown keys, no conversions between types, immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def expectation(allowed: str) -> PydanticCustomError:
    """Return the error to raise in a validator; it is shown as `expected <allowed>, found <value>`."""
    return PydanticCustomError(EXPECTED, "expected {allowed}", {"allowed": allowed})


def Matching(pattern: re.Pattern[str], allowed: str) -> AfterValidator:  # noqa: N802 - reads as a type's annotation
    """Return the annotation of a text that matches a pattern from its start; `allowed` says it to people."""

    def check(text: str) -> str:
        if not pattern.match(text):
            raise expectation(allowed)
        return text

    return AfterValidator(check)
