"""`python -m syntor.schemas write|check|release`: keep the committed contract documents true.

write: generate them. check: fail when they differ from the code, or when the code breaks the last release.
release: make the current schemas the ones later changes are compared with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from syntor.schemas.compatibility import incompatibilities
from syntor.schemas.documents import build_asyncapi, build_event_reference, build_schemas

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = ROOT / "contracts" / "schemas"
RELEASED = ROOT / "contracts" / "released"
ASYNCAPI = ROOT / "contracts" / "asyncapi.json"
REFERENCE = ROOT / "docs" / "events.md"


def generated() -> dict[Path, str]:
    """Return path -> text of every generated document."""
    documents = {SCHEMAS / name: text for name, text in build_schemas().items()}
    return documents | {ASYNCAPI: build_asyncapi(), REFERENCE: build_event_reference()}


def drift() -> list[str]:
    """Return a line for each committed document that is missing, surplus or not what the code generates."""
    documents = generated()
    lines = [f"{path.relative_to(ROOT)}: not committed" for path in documents if not path.exists()]
    surplus = [path for path in SCHEMAS.glob("*.json") if path not in documents]
    lines += [f"{path.relative_to(ROOT)}: no longer generated" for path in surplus]
    stale = [path for path, text in documents.items() if path.exists() and path.read_text() != text]
    return lines + [f"{path.relative_to(ROOT)}: out of date" for path in stale]


def incompatible_changes() -> list[str]:
    """Return a line for each incompatible change against the last release."""
    documents = build_schemas()
    lines: list[str] = []
    for path in sorted(RELEASED.glob("*.json")):
        if path.name not in documents:
            lines.append(f"{path.name}: was removed")
        else:
            lines += incompatibilities(path.name, json.loads(path.read_text()), json.loads(documents[path.name]))
    return lines


def _write(documents: dict[Path, str]) -> None:
    for path, text in documents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main(arguments: list[str]) -> int:
    """Run one of the three actions; return the exit code."""
    action = arguments[0] if len(arguments) == 1 else ""
    if action == "write":
        _write(generated())
        return 0
    if action == "release":
        _write({RELEASED / name: text for name, text in build_schemas().items()})
        return 0
    if action == "check":
        lines = [f"{line}; run `python -m syntor.schemas write`" for line in drift()] + incompatible_changes()
        sys.stderr.write("".join(f"error: {line}\n" for line in lines))
        return 1 if lines else 0
    sys.stderr.write("usage: python -m syntor.schemas write|check|release\n")
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
