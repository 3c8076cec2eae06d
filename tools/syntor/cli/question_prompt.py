"""Prompts the user at the terminal for the response to a question of an agent or a tool, and submits it."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec

from syntor.cli.api import Answer, Api
from syntor.cli.problem import ProblemError
from syntor.contracts.clock import now
from syntor.contracts.errors import NotReachableError
from syntor.contracts.forms import Field, FormError, fields_of, parse_text
from syntor.contracts.http.v1 import AskedQuestion
from syntor.contracts.visible_text import visible

_POLL_S = 1.0  # how often the prompt checks for a response from elsewhere
DECLINE = "-"  # typed to decline


class _ClosedElsewhere(Exception):  # noqa: N818 - no error: another terminal was first
    pass


class QuestionPrompt:
    """Prompts for the questions of one run."""

    def __init__(self, api: Api, *, line_input: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """Prepare.

        Args:
            line_input: puts the terminal into line mode inside its block.
        """
        self._api = api
        self._line_input = line_input

    def answer(self, run_id: str, question_id: str) -> None:
        """Prompt for one response and submit it, unless the question was closed elsewhere.

        Raises:
            KeyboardInterrupt: Ctrl-C or the end of input instead of a response.
            ProblemError: the server refused the response.
        """
        asked = next((each for each in open_questions(self._api, run_id) if each.question_id == question_id), None)
        if asked is None:
            return
        sys.stderr.write(f"\n{described(asked)}\n")
        try:
            with self._line_input():
                self.submit(asked, self._prompt(asked))
        except _ClosedElsewhere:
            sys.stderr.write("\n(answered elsewhere)\n")

    def submit(self, asked: AskedQuestion, answer: Answer) -> None:
        """Submit a response; that another one was first is printed."""
        try:
            self._api.answer(asked.run_id, asked.question_id, answer)
        except ProblemError as exc:
            if exc.status != 409:
                raise
            sys.stderr.write(f"({exc})\n")

    def _prompt(self, asked: AskedQuestion) -> Answer:
        if asked.form:
            values: dict[str, Any] = {}
            for field in fields_of(msgspec.json.decode(asked.form, type=dict[str, Any])):
                line = self._field(field, asked)
                if line is None:
                    return Answer(declined=True)
                values |= {} if line[0] is None else {field.name: line[0]}
            return Answer(values=values)
        while True:
            line_ = self._read(f"answer ({DECLINE} declines)> ", asked).strip()
            if line_ == DECLINE:
                return Answer(declined=True)
            text = chosen(asked, line_)
            if text and (asked.other or not asked.choices or text in asked.choices):
                return Answer(text=text)
            sys.stderr.write("choose one by its number\n" if asked.choices else "type a response\n")

    def _field(self, field: Field, asked: AskedQuestion) -> tuple[Any] | None:
        """Return the typed value of a field in a tuple, or None when the user declines."""
        sys.stderr.write(describe_field(field) + "\n")
        while True:
            line = self._read(f"{visible(field.name)}> ", asked)
            if line.strip() == DECLINE:
                return None
            try:
                value = parse_text(field, line)
                if value is None and field.required:
                    raise FormError("a value is required")
                return (value,)
            except FormError as exc:
                sys.stderr.write(f"{visible(str(exc))}\n")

    def _read(self, prompt: str, asked: AskedQuestion) -> str:
        sys.stderr.write(prompt)
        sys.stderr.flush()
        while not select.select([sys.stdin], [], [], _POLL_S)[0]:
            if self._is_closed(asked):
                raise _ClosedElsewhere
        line = sys.stdin.readline()
        if not line:
            raise KeyboardInterrupt
        return line

    def _is_closed(self, asked: AskedQuestion) -> bool:
        try:
            known = self._api.questions(asked.run_id)
        except (NotReachableError, ProblemError):
            return False  # not known now; the prompt waits for the user, not for the server
        return any(each.question_id == asked.question_id and each.answer is not None for each in known)


def open_questions(api: Api, run_id: str) -> list[AskedQuestion]:
    """Return the questions of a run that wait for a response."""
    at = now()
    return [
        each
        for each in api.questions(run_id)
        if each.answer is None and (each.expires_at is None or each.expires_at > at)
    ]


def chosen(asked: AskedQuestion, line: str) -> str:
    """Return the response a line means: a choice by its number, or the line itself."""
    number = int(line) if line.isdecimal() and len(line) < 4 else 0
    return asked.choices[number - 1] if 1 <= number <= len(asked.choices) else line


def described(asked: AskedQuestion) -> str:
    """Return a question for people, with nothing hidden in it."""
    lines = [f"Question of {visible(asked.asked_by) or 'the agent'}:"]
    lines += [f"  {line}" for line in visible(asked.text).split("\n")]
    lines += [f"  [{number}] {visible(choice)}" for number, choice in enumerate(asked.choices, 1)]
    return "\n".join(lines)


def describe_field(field: Field) -> str:
    """Return a field of a form for people."""
    parts = [visible(field.title or field.name)]
    if field.description:
        parts.append(f"({visible(field.description)})")
    if not field.required:
        parts.append("optional")
    if field.default is not None:
        parts.append(f"default: {visible(str(field.default))}")
    if field.kind == "boolean":
        parts.append("yes or no")
    lines = [" · ".join(parts)]
    lines += [f"  [{number}] {visible(label)}" for number, label in enumerate(field.labels, 1)]
    return "\n".join(lines)
