"""Files that people write by hand: parsed with the line of every value, validated with pydantic, all errors listed.

Importing this package loads no pydantic; `read_as` loads it when there is a file to validate.
"""

from syntor.documents.forms import Check, matching
from syntor.documents.parsing import (
    Document,
    InvalidDocumentError,
    Problem,
    nearest,
    parse_json,
    parse_yaml,
    read_text,
)
from syntor.documents.reading import read_as, value_problem

__all__ = [
    "Check",
    "Document",
    "InvalidDocumentError",
    "Problem",
    "matching",
    "nearest",
    "parse_json",
    "parse_yaml",
    "read_as",
    "read_text",
    "value_problem",
]
