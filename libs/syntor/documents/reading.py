"""Validates what people wrote by hand; pydantic is imported by the first call, not with the module."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from syntor.documents.parsing import Document

Form = TypeVar("Form", bound=msgspec.Struct)


_BUILDING = threading.Lock()
"""Files are read in threads; msgspec 0.22 ends the process where two threads use a struct for the first time."""


def read_as(document: Document, form: type[Form], context: Mapping[str, object] | None = None) -> Form:
    """Return the content of a hand-written file.

    Args:
        context: what the form's checks look up.

    Raises:
        InvalidDocumentError: it is not of that form; lists all errors.
    """
    from syntor.documents.models import model_of
    from syntor.documents.validation import validate

    with _BUILDING:
        found = validate(document, model_of(form), context)
        return msgspec.convert(found.model_dump(exclude_unset=True, by_alias=True), form)


def value_problem(value: object, annotation: Any) -> str:
    """Return what is wrong with a single value, such as that of an environment variable; empty when nothing is."""
    from syntor.documents.models import annotation_of
    from syntor.documents.validation import problem_of

    return problem_of(value, annotation_of(annotation))
