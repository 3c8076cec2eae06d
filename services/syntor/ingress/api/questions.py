"""Questions of agents and tools to people: listing them, and responding. The first response counts."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from syntor.contracts import subjects
from syntor.contracts.clock import now
from syntor.contracts.errors import ConflictError, NotFoundError, RevisionConflictError
from syntor.contracts.forms import FormError, check_values, fields_of
from syntor.contracts.http.v1 import AskedQuestion, FieldFault, QuestionPage, SubmissionAccepted
from syntor.contracts.request.v1 import QuestionAnswered
from syntor.contracts.task.v1 import QuestionAsked
from syntor.eventsourcing.store import Recorded
from syntor.ingress.api.run_bodies import Body
from syntor.ingress.gateway import Gateway, request
from syntor.ingress.http.bounds import BodyText
from syntor.ingress.http.errors import InvalidFieldsError
from syntor.ingress.http.operation import Call, Operation, Reply, reply
from syntor.ingress.http.parameters import Query

MAX_SHOWN = 1000
FormValues = Annotated[dict[Annotated[str, Meta(max_length=200)], Any], Meta(max_length=100)]


class AnswerQuestion(Body, frozen=True, kw_only=True):
    """Body of POST /v1/runs/{run_id}/questions/{question_id}."""

    declined: bool = False
    """True: there is no response; `text` may say why."""
    text: BodyText = ""
    """The response, for a question without a form."""
    values: FormValues | None = None
    """The response, for a question with a form."""


class QuestionRoutes:
    """Handlers of questions."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def operations(self) -> list[Operation]:
        """Return the rows of the route table."""
        return [
            Operation(
                method="GET",
                path="/v1/runs/{run_id}/questions",
                handler=self.list_of_run,
                id="listRunQuestions",
                scope="read",
                tag="Approvals",
                summary="List the questions of a run",
                description="Questions of its agents and their tools, oldest first, with the responses so far.",
                replies=(Reply(description="The questions.", schema=QuestionPage),),
                problems=("not_found",),
            ),
            Operation(
                method="POST",
                path="/v1/runs/{run_id}/questions/{question_id}",
                handler=self.answer,
                id="answerQuestion",
                scope="approve",
                tag="Approvals",
                summary="Answer a question or decline it",
                description="A question with a form takes `values`, any other one `text`. The first response counts "
                "and may be repeated; another one, and one after the question expired, are conflicts.",
                body=AnswerQuestion,
                example={"text": "blue"},
                replies=(Reply(description="The response is in the log.", schema=SubmissionAccepted),),
                problems=("not_found", "conflict"),
            ),
        ]

    async def list_of_run(self, call: Call[Query, None]) -> Response:
        """GET /v1/runs/{run_id}/questions."""
        run_id = call.path("run_id")
        await self._gateway.run(run_id)
        found: list[AskedQuestion] = []
        for recorded in await self._gateway.task_events(run_id, "*", "question_asked"):
            if isinstance(recorded.event, QuestionAsked) and len(found) < MAX_SHOWN:
                first = await self._answered(run_id, recorded.event.question_id)
                found.append(_shown(run_id, recorded, recorded.event, first))
        return reply(QuestionPage(questions=found))

    async def answer(self, call: Call[Query, AnswerQuestion]) -> Response:
        """POST /v1/runs/{run_id}/questions/{question_id}."""
        run_id, question_id = call.path("run_id"), call.path("question_id")
        bounds = await self._gateway.run(run_id)
        asked = await self._question(run_id, question_id)
        answered = _answer(asked, call.body, call.context.caller)
        position = 0
        first = await self._answered(run_id, question_id)
        if first is None:
            bounds.require_open()
            if asked.expires_at is not None and asked.expires_at <= now():
                raise ConflictError(f"question {question_id!r} expired at {asked.expires_at.isoformat()}")
            try:
                position = await self._gateway.append_request(request(call.context, answered, run_id, bounds))
            except RevisionConflictError:
                first = await self._answered(run_id, question_id)
        if first is not None and first.event != answered:
            raise ConflictError(f"question {question_id!r} was closed before; the first response counts")
        return reply(
            SubmissionAccepted(run_id=run_id, id=question_id, position=position if first is None else first.position)
        )

    async def _question(self, run_id: str, question_id: str) -> QuestionAsked:
        task_id = question_id.rpartition("-")[0]
        for recorded in await self._gateway.task_events(run_id, task_id, "question_asked") if task_id else []:
            if isinstance(recorded.event, QuestionAsked) and recorded.event.question_id == question_id:
                return recorded.event
        raise NotFoundError(f"run {run_id!r} has no question {question_id!r}")

    async def _answered(self, run_id: str, question_id: str) -> Recorded | None:
        return await self._gateway.last(subjects.event("request", run_id, "question_answered", question_id))


def _answer(asked: QuestionAsked, body: AnswerQuestion, caller: str) -> QuestionAnswered:
    """Return the event of a response.

    Raises:
        InvalidFieldsError: it is none to this question.
    """
    by = caller
    if body.declined:
        return QuestionAnswered(question_id=asked.question_id, action="decline", text=body.text, answered_by=by)
    text = body.text
    if asked.form:
        if body.values is None:
            raise InvalidFieldsError([FieldFault("values", "this question has a form: give its values")])
        try:
            check_values(fields_of(msgspec.json.decode(asked.form, type=dict[str, Any])), body.values)
        except FormError as exc:
            raise InvalidFieldsError([FieldFault("values", str(exc))]) from exc
        text = msgspec.json.encode(body.values, order="sorted").decode()
    elif body.values is not None or not text.strip():
        raise InvalidFieldsError([FieldFault("text", "this question has no form: give a text")])
    elif asked.choices and not asked.other and text not in asked.choices:
        raise InvalidFieldsError([FieldFault("text", f"expected one of {', '.join(asked.choices)}")])
    return QuestionAnswered(question_id=asked.question_id, action="answer", text=text, answered_by=by)


def _shown(run_id: str, recorded: Recorded, asked: QuestionAsked, first: Recorded | None) -> AskedQuestion:
    answer = first.event if first is not None else None
    return AskedQuestion(
        run_id=run_id,
        task_id=asked.question_id.rpartition("-")[0],
        question_id=asked.question_id,
        text=asked.text,
        asked_by=asked.asked_by,
        choices=list(asked.choices),
        other=asked.other,
        form=asked.form,
        expires_at=asked.expires_at,
        answer=answer if isinstance(answer, QuestionAnswered) else None,
        position=recorded.position,
    )
