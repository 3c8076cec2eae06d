"""Reads one config.yaml into dotted keys, each with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from syntor.configuration.keys import Setting, canonical, find_key, is_known
from syntor.configuration.schema import ConfigDocument
from syntor.documents import Document, parse_yaml, read_text


class Entry(msgspec.Struct, frozen=True):
    """A value and where it stands."""

    value: Setting
    line: int
    """Counted from 1."""


def read_document(path: Path) -> dict[str, Entry]:
    """Return what a configuration file sets, by dotted key; empty when there is no file or nothing in it.

    Raises:
        InvalidDocumentError: it cannot be read, is not YAML, or has an unknown key or a value that is not allowed.
    """
    try:
        text = read_text(path)
    except FileNotFoundError:
        return {}
    return parse_document(text, str(path))


def parse_document(text: str, source: str) -> dict[str, Entry]:
    """Return what the text of a configuration file sets; `source` is how errors name the file.

    Raises:
        InvalidDocumentError: as `read_document`.
    """
    from syntor.documents.models import model_of  # loads pydantic
    from syntor.documents.validation import validate

    document = parse_yaml(text, source, numbers_as_text=True, rename=_without_alias)
    document = msgspec.structs.replace(document, content=_without_nulls(document.content, ""))
    found = validate(document, model_of(ConfigDocument)).model_dump(exclude_unset=True)
    return dict(_entries(found, (), document))


def _without_nulls(content: object, stem: str) -> object:
    """Drop known keys without a value: they set nothing."""
    if not isinstance(content, dict):
        return content
    given = cast("dict[str, object]", content)
    return {
        key: _without_nulls(value, f"{stem}{key}.")
        for key, value in given.items()
        if value is not None or not is_known(f"{stem}{key}")
    }


def _without_alias(path: tuple[str, ...]) -> str:
    return canonical(".".join(path)).rpartition(".")[2] if "." not in path[-1] else path[-1]


def _entries(tree: Mapping[str, Any], stem: tuple[str, ...], document: Document) -> Iterator[tuple[str, Entry]]:
    for part, value in tree.items():
        path = (*stem, part)
        name = ".".join(path)
        if isinstance(value, dict) and find_key(name) is None:
            yield from _entries(cast("dict[str, Any]", value), path, document)
        else:
            yield name, Entry(cast("Setting", value), document.line(path))
