"""Questions of tools to people: what is asked, what a response means, and which recorded question one repeats."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from syntor.agentkit.domain.tool_error import ToolError
from syntor.contracts.bounds import EARLIEST, MAX_LINE, MAX_MESSAGE, MAX_NAME, clip
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.request.v1 import QuestionAnswered
from syntor.contracts.task.v1 import QuestionAsked, Wait

QUESTION_TTL_S = 7 * 86400.0  # as approvals
MAX_QUESTIONS = 20  # of one call; a tool that asks more is broken
MAX_CHOICES = 100


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Something a tool asks a person."""

    text: str
    asked_by: str = ""
    """Who asks, for the person."""
    choices: list[str] = []
    other: bool = True
    """Whether a response that is no choice is accepted."""
    form: dict[str, Any] | None = None
    """JSON schema of an object with simple properties; None: the response is a text."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """How a question was closed."""

    declined: bool = False
    expired: bool = False
    text: str = ""
    values: dict[str, Any] = {}
    """Values of the form."""
    by: str = ""
    """Who responded."""


class QuestionPendingError(Exception):
    """A question is open: the call cannot continue before `wait` has arrived."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(f"question {wait.id} is open")
        self.wait = wait


def question_asked(task_id: str, call_id: str, number: int, question: Question, at: datetime) -> QuestionAsked:
    """Return the event of the question `number`, from 1, of a call."""
    suffix = f"_q{number}" if number > 1 else ""
    return QuestionAsked(
        question_id=f"{task_id}-{call_id}{suffix}",
        call_id=call_id,
        text=clip(question.text),
        asked_by=clip(question.asked_by, MAX_NAME),
        choices=[clip(choice, MAX_LINE) for choice in question.choices[:MAX_CHOICES]],
        other=question.other,
        form=form_text(question),
        expires_at=at + timedelta(seconds=QUESTION_TTL_S),
    )


def form_text(question: Question) -> str:
    """Return the form as JSON; empty: there is none.

    Raises:
        ToolError: it is larger than a message.
    """
    if question.form is None:
        return ""
    text = msgspec.json.encode(question.form).decode()
    if len(text) > MAX_MESSAGE:
        raise ToolError(f"the form has {len(text)} characters; at most {MAX_MESSAGE} are shown to a person")
    return text


def repeated(asked: Sequence[QuestionAsked], question: Question, used: set[str]) -> QuestionAsked | None:
    """Return the oldest recorded question of the same content that `used` does not have, or None."""
    new = question_asked("", "", 1, question, EARLIEST)
    for each in asked:
        same = (each.text, each.choices, each.other, each.form) == (new.text, new.choices, new.other, new.form)
        if same and each.question_id not in used:
            return each
    return None


def response(asked: QuestionAsked, answered: QuestionAnswered | None, at: datetime) -> Response | None:
    """Return how a question was closed, or None while it is open."""
    if answered is None:
        late = asked.expires_at is not None and at >= asked.expires_at
        return Response(declined=True, expired=True) if late else None
    if answered.action == "decline":
        return Response(declined=True, text=answered.text, by=answered.answered_by)
    values: dict[str, Any] = {}
    if asked.form:
        try:
            values = msgspec.json.decode(answered.text, type=dict[str, Any])
        except UNDECODABLE:  # the API accepts objects only
            return Response(declined=True, by=answered.answered_by)
    return Response(text=answered.text, values=values, by=answered.answered_by)


def wait_for(asked: QuestionAsked) -> Wait:
    """Return what a task waits for while a question is open."""
    return Wait(kind="tool", id=asked.question_id, expires_at=asked.expires_at)
