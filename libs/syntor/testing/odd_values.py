"""Messages whose values are at and beyond their bounds: one field of a good message at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, cast

import msgspec

from syntor.contracts import subjects
from syntor.contracts.bounds import MAX_LINE, MAX_MESSAGE
from syntor.contracts.events import CATALOGUE

RAW = "\x00raw\x00"  # stands where JSON is inserted that `json` does not write
DEPTH = 2000  # more than Python's own limit
NUMBERS = ("0", "-1", "9223372036854775807", "9223372036854775808", "1" + "0" * 19, "1" + "0" * 400, "1e308", "1e400",
           "-1e308", "NaN", "Infinity", "0.5")  # fmt: skip
TEXTS = (
    '""',
    '"a\\u0000b"',
    '"\\ud800"',
    '"a\\ud800b"',
    '"a\u2028b\\u0085c"',
    json.dumps("x" * (MAX_LINE + 1)),
    json.dumps("x" * (MAX_MESSAGE + 1)),
)
TIMES = ('"9999-12-31T23:59:59.999999Z"', '"0001-01-01T00:00:00+23:59"', '"2026-01-01T00:00:00"',
         '"9000-01-01T00:00:00Z"', '"1970-01-01T00:00:00-23:59"')  # fmt: skip
OTHERS = ("null", "[]", "{}", "true", "[" * DEPTH + "]" * DEPTH)
ENVELOPE = ("time", "version", "firstposition", "datasize", "runid", "sessionid", "id", "subject", "source",
            "dataschema", "dataref", "causationid", "correlationid")  # fmt: skip


def odd_values(value: object) -> Iterator[str]:
    """Yield JSON to put in place of a value: of its kind at and beyond the bounds, and of other kinds."""
    if isinstance(value, str) and value[:2].isdecimal() and "T" in value:
        yield from TIMES
    if isinstance(value, str):
        yield from TEXTS
    if isinstance(value, (int, float)):
        yield from NUMBERS
    yield from OTHERS


class Message(msgspec.Struct, frozen=True):
    """A message to publish."""

    run_id: str
    subject: str
    payload: bytes


def odd_messages(golden: Iterable[str]) -> Iterator[Message]:
    """Yield messages with one odd value each; every message is of a run of its own.

    Args:
        golden: a good message of each event type, JSON.
    """
    number = 0
    for line in golden:
        message: dict[str, Any] = json.loads(line)
        for path, value in _leaves(message["data"], ("data",)):
            for odd in odd_values(value):
                number += 1
                yield _message(message, path, odd, f"odd{number}")
        for name in ENVELOPE:
            for odd in odd_values(message.get(name, 0 if name in ("firstposition", "datasize") else "")):
                number += 1
                yield _message(message, (name,), odd, f"odd{number}")


def large_message(golden: Iterable[str]) -> Message:
    """Return the request of a run with a text almost as long as one message of the log can be."""
    line = next(line for line in golden if json.loads(line)["type"] == "user_input")
    return _message(json.loads(line), ("data", "content"), json.dumps("x" * (7 * 1024 * 1024)), "oddlarge")


def _leaves(tree: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield path and value of every field, containers included."""
    if len(path) > 1:
        yield path, tree
    if isinstance(tree, dict):
        for name, value in cast("dict[str, Any]", tree).items():
            yield from _leaves(value, (*path, name))
    elif isinstance(tree, list):
        for each in cast("list[Any]", tree)[:1]:  # type: ignore[redundant-cast] # pyright knows no element type
            yield from _leaves(each, (*path, 0))


def _message(golden: dict[str, Any], path: tuple[str | int, ...], odd: str, run_id: str) -> Message:
    """Return a message with other JSON at a path, under the subject of a run."""
    text = json.dumps(golden).replace('"r1"', f'"{run_id}"').replace(".r1", f".{run_id}").replace('"r1.', f'"{run_id}.')
    message = json.loads(text)
    message["id"] = f"{run_id}-{message['type']}"
    category, _, aggregate_id = golden["subject"].partition(".")
    aggregate_id = aggregate_id.replace("r1", run_id) if "r1" in aggregate_id else run_id
    if category in subjects.TASK_CATEGORIES and "." not in aggregate_id:
        aggregate_id = subjects.task_id(aggregate_id, "t1")
    message["subject"] = f"{category}.{aggregate_id}"
    place = message
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = RAW
    row = CATALOGUE.newest(category, golden["type"])
    subject = subjects.event(category, aggregate_id, golden["type"], "k1" if row is not None and row.key else "")
    payload = json.dumps(message).replace(json.dumps(RAW), odd)
    return Message(run_id, subject, payload.encode())
