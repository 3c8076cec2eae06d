"""The model calls of a task: reserved in its budgets, recorded before and after, streamed in between."""

from __future__ import annotations

import time
from contextlib import aclosing

import msgspec

from syntor.agentkit.domain import task as tasks
from syntor.agentkit.execution.call_budget import CallBudget
from syntor.agentkit.execution.metrics import record_model_call, record_model_failure
from syntor.agentkit.execution.task_log import TaskLog
from syntor.agentkit.model_resolver import ModelResolver, ResolvedModel
from syntor.agentkit.tools.tool import Tool
from syntor.contracts.bounds import MAX_LINE, MAX_NAME, clip, well_formed
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.task.v1 import LlmCallDone, LlmCallFailed, LlmCallStarted, PromptPart, ToolCall
from syntor.models.chat import (
    ChatMessage,
    ChatModel,
    ChatRequest,
    Completed,
    ModelError,
    Progress,
    TextDelta,
    ToolSpec,
    addressed,
)

INTERRUPTED = "interrupted"
OUTCOME_UNKNOWN = "outcome_unknown"


class PromptParts(msgspec.Struct, frozen=True):
    """What a prompt holds, for the record."""

    window_tokens: int = 0
    parts: tuple[PromptPart, ...] = ()


class ModelCalls:
    """Makes the model calls of one task; each has a number, counted from 1."""

    def __init__(self, log: TaskLog, request: UserInput, models: ModelResolver, budget: CallBudget) -> None:
        self._log = log
        self._request = request
        self._models = models
        self._budget = budget
        self._call = 0
        self._refused = ""

    async def window(self) -> int:
        """Return the tokens of the default model's context: as configured, or as the provider tells; 0: not known.

        Raises:
            ModelError: the configuration is invalid.
        """
        return await self._models.context_tokens(self.default())

    def compact_at(self) -> float:
        """Return the share of the context at which earlier turns are summarised."""
        return float(self._models.configuration().inference.compact_at)

    def default(self) -> ResolvedModel:
        """Return the model of the run or agent; raises ModelError for an invalid configuration."""
        return self._models.resolve(self._request.model)

    async def make(
        self,
        messages: list[ChatMessage],
        tools: list[Tool],
        max_tokens: int | None,
        model: ResolvedModel | None,
        *,
        repeatable: bool = True,
        purpose: str = "",
        prompt: PromptParts = PromptParts(),  # noqa: B008 - frozen
    ) -> LlmCallDone:
        """Return the completion of the next call; a recorded one is returned without a call.

        Args:
            purpose: what it is for, if not the task itself: its text is then not streamed.
            repeatable: whether a call that failed or was interrupted may be made again.

        Raises:
            ModelError: the call failed, and the failure is recorded; or it was made before and is not repeatable.
        """
        first = self._call + 1
        call = self._call = tasks.next_call(self._log.state, self._call, purpose)
        if (recorded := self._log.state.done.get(call)) is not None:
            return recorded
        if self._log.state.open_call == call:
            call = self._call = await self._fail_interrupted(call, purpose)
        if call > first and not repeatable:
            message = "it was called before, the outcome is unknown, and it may not be called twice"
            raise ModelError(OUTCOME_UNKNOWN, message)
        resolved = model or self.default()
        request = ChatRequest(
            model=resolved.ref.name,
            messages=addressed(messages, str(resolved.ref)),
            tools=[ToolSpec(name=t.name, description=t.description, parameters=t.parameters()) for t in tools],
            max_tokens=max_tokens,
            timeout_s=self._request.timeout_s,
        )
        request = await self._budget.reserve(call, request, resolved.model)
        started = LlmCallStarted(
            call=call,
            provider=resolved.ref.provider,
            model=resolved.ref.name,
            message_count=len(messages),
            tool_names=[tool.name for tool in tools],
            purpose=purpose,
            window_tokens=prompt.window_tokens,
            context=list(prompt.parts),
        )
        await self._log.append(started)
        return await self._complete(call, resolved, request, shown=not purpose)

    async def _fail_interrupted(self, call: int, purpose: str) -> int:
        """Record that a call was interrupted, and return the number of the call to make instead."""
        message = "the process that made this call ended before its result was recorded"
        await self._budget.settle(call, None)
        await self._log.append(LlmCallFailed(call=call, code=INTERRUPTED, message=message))
        return tasks.next_call(self._log.state, call - 1, purpose)

    async def _complete(self, call: int, resolved: ResolvedModel, request: ChatRequest, *, shown: bool) -> LlmCallDone:
        """Make a call that has started, settle its reservation, and record its end."""
        began = time.perf_counter()
        try:
            done = await self._stream(call, resolved.model, request, began, shown=shown)
        except ModelError as exc:
            await self._log.deltas.finish()
            await self._budget.settle(call, None)
            duration_s = round(time.perf_counter() - began, 6)
            failed = LlmCallFailed(
                call=call, code=clip(exc.code, MAX_NAME), message=clip(str(exc)), duration_s=duration_s
            )
            await self._log.append(failed)
            record_model_failure(self._log.assigned.agent, resolved.ref, failed.code, duration_s)
            raise
        await self._budget.settle(call, None if self._refused else done.usage)
        await self._log.append(done)
        record_model_call(self._log.assigned.agent, resolved.ref, done)
        return done

    async def _stream(
        self, call: int, model: ChatModel, request: ChatRequest, began: float, *, shown: bool
    ) -> LlmCallDone:
        deltas = self._log.deltas
        deltas.begin(call)
        first_s: float | None = None
        completed: Completed | None = None
        async with aclosing(model.stream(request)) as events:
            async for event in events:
                match event:
                    case TextDelta(text=sent):
                        text = well_formed(sent)
                        if first_s is None:
                            first_s = time.perf_counter() - began
                        if shown:
                            deltas.add(text)
                    case Progress(message=message, fraction=fraction):
                        await self._log.progress(message, fraction)
                    case Completed():
                        completed = event
        if completed is None:
            raise ModelError("bad_response", f"{request.model}: the completion has no end", retryable=True)
        await deltas.finish()
        self._refused = completed.usage_refused
        if self._refused:
            message = f"{request.model}: {self._refused}; the call counts as all that was reserved for it"
            await self._log.progress(message, None, always=True)
        return _done(call, completed, duration_s=time.perf_counter() - began, first_s=first_s)


def _done(call: int, completed: Completed, *, duration_s: float, first_s: float | None) -> LlmCallDone:
    """Return the event that ends a call; its tool calls get ids that are the same in every attempt."""
    calls = [
        ToolCall(
            id=f"c{call}_{number}",
            name=clip(tool_call.name, MAX_LINE),
            arguments=well_formed(tool_call.arguments),
            provider_id=well_formed(tool_call.provider_id),
            extra=tool_call.extra,
        )
        for number, tool_call in enumerate(completed.tool_calls, 1)
    ]
    done = LlmCallDone(
        call=call,
        text=well_formed(completed.text),
        tool_calls=calls,
        finish_reason=completed.finish_reason,
        usage=completed.usage,
        duration_s=round(duration_s, 6),
        first_token_s=None if first_s is None else round(first_s, 6),
        provider=clip(completed.provider, MAX_NAME),
        model=clip(completed.model, MAX_NAME),
        extra=completed.extra,
    )
    try:
        return msgspec.convert(msgspec.to_builtins(done), LlmCallDone)
    except msgspec.ValidationError as exc:
        text = f"{completed.provider}/{completed.model} sent what cannot be recorded: {exc}"
        raise ModelError("bad_response", text) from exc
