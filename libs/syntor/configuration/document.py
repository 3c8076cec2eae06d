"""Reads one config.yaml into dotted keys, each with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from syntor.configuration.keys import Setting, canonical, find_key
from syntor.configuration.schema import ConfigDocument
from syntor.documents import Document, parse_yaml, read_text, validate


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
    document = parse_yaml(text, source, numbers_as_text=True, rename=_without_alias)
    found = validate(document, ConfigDocument).model_dump(exclude_unset=True)
    return dict(_entries(found, (), document))


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
