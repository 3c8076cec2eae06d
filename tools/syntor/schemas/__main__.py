"""`python -m syntor.schemas write|check|release`: keep the committed contract documents true.

write: regenerate them. check: fail when they differ from the code, or when the code breaks the last release.
release: make the current documents the ones later changes are compared with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from syntor.schemas.compatibility import incompatibilities
from syntor.schemas.documents import build_documents

CONTRACTS = Path(__file__).resolve().parents[3] / "contracts"
CURRENT = CONTRACTS / "syntor" / "contracts" / "schemas"
RELEASED = CONTRACTS / "released"


def drift() -> list[str]:
    """Return a line for each committed document that is missing, surplus or not what the code generates."""
    documents = build_documents()
    committed = {path.name: path.read_text() for path in CURRENT.glob("*.json")}
    lines = [f"{name}: not committed" for name in documents if name not in committed]
    lines += [f"{name}: no longer generated" for name in committed if name not in documents]
    return lines + [f"{name}: out of date" for name, text in documents.items() if committed.get(name, text) != text]


def broken_promises() -> list[str]:
    """Return a line for each incompatible change against the last release."""
    documents = build_documents()
    lines: list[str] = []
    for path in sorted(RELEASED.glob("*.json")):
        if path.name == "asyncapi.json":
            continue
        if path.name not in documents:
            lines.append(f"{path.name}: was removed")
        else:
            lines += incompatibilities(path.name, json.loads(path.read_text()), json.loads(documents[path.name]))
    return lines


def _write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in build_documents().items():
        (folder / name).write_text(text)


def main(arguments: list[str]) -> int:
    """Run one of the three actions; return the exit code."""
    action = arguments[0] if len(arguments) == 1 else ""
    if action == "write":
        _write(CURRENT)
        return 0
    if action == "release":
        _write(RELEASED)
        return 0
    if action == "check":
        lines = drift()
        lines = [f"{line}; run `python -m syntor.schemas write`" for line in lines] + broken_promises()
        sys.stderr.write("".join(f"error: {line}\n" for line in lines))
        return 1 if lines else 0
    sys.stderr.write("usage: python -m syntor.schemas write|check|release\n")
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
