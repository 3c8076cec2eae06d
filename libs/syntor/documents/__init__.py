"""Files that people write by hand: parsed with the line of every value, validated with pydantic, all errors listed."""

from syntor.documents.model import DocumentModel, Matching, expectation
from syntor.documents.parsing import Document, InvalidDocumentError, Problem, parse_json, parse_yaml, read_text
from syntor.documents.validation import nearest, validate, value_problem

__all__ = [
    "Document",
    "DocumentModel",
    "InvalidDocumentError",
    "Matching",
    "Problem",
    "expectation",
    "nearest",
    "parse_json",
    "parse_yaml",
    "read_text",
    "validate",
    "value_problem",
]
