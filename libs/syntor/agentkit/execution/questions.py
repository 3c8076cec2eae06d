"""Questions of one task's tool calls to people, which wait in the log as approvals do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from syntor.agentkit.domain.external_results import ExternalResults
from syntor.agentkit.domain.question import (
    MAX_QUESTIONS,
    Question,
    QuestionPendingError,
    Response,
    question_asked,
    repeated,
    response,
    wait_for,
)
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.execution.task_log import TaskLog
from syntor.agentkit.tools.ask_user import AskUser, question_of, result_text
from syntor.contracts.task.v1 import QuestionAsked, ToolCall, ToolResult, Wait
from syntor.contracts.vocabulary import ToolOutcome
from syntor.runtime.redaction import redact


class Questions:
    """Asks, and gives responses to the calls that asked."""

    def __init__(self, log: TaskLog, results: ExternalResults) -> None:
        self._log = log
        self._results = results

    def waits(self, call_id: str) -> list[Wait]:
        """Return the open questions of a call."""
        asked = self._log.state.questions.get(call_id, ())
        return [wait_for(each) for each in asked if self._response(each) is None]

    def asker(self, call_id: str) -> Callable[[Question], Awaitable[Response]]:
        """Return what one execution of a call asks with: a question that is repeated has its response."""
        used: set[str] = set()

        async def ask(question: Question) -> Response:
            asked = self._log.state.questions.get(call_id, ())
            known = repeated(asked, question, used)
            if known is None:
                if len(asked) >= MAX_QUESTIONS:
                    raise ToolError(f"a call may ask {MAX_QUESTIONS} questions; it asked them all")
                task_id = self._log.assigned.task_id
                known = question_asked(task_id, call_id, len(asked) + 1, question, self._log.now())
                await self._log.append(known)
            used.add(known.question_id)
            given = self._response(known)
            if given is None:
                raise QuestionPendingError(wait_for(known))
            return given

        return ask

    async def ask_user(self, call: ToolCall, arguments: AskUser) -> ToolResult | list[Wait]:
        """Return the result of a call of ask_user, or the question it waits for."""
        try:
            given = await self.asker(call.id)(question_of(arguments, self._log.assigned.agent))
        except QuestionPendingError as exc:
            return [exc.wait]
        outcome: ToolOutcome = "expired" if given.expired else "submitted"
        return ToolResult(call_id=call.id, content=redact(result_text(given)), outcome=outcome)

    def _response(self, asked: QuestionAsked) -> Response | None:
        return response(asked, self._results.answered.get(asked.question_id), self._log.now())
