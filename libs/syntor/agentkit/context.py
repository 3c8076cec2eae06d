"""What an agent's function is given: its input, and models and tools whose results are recorded before it sees them."""

from __future__ import annotations

import time
from contextlib import aclosing

import msgspec

from syntor.agentkit.domain import task as tasks
from syntor.agentkit.domain.task_end import TaskEnd
from syntor.agentkit.execution.call_budget import CallBudget
from syntor.agentkit.execution.task_log import TaskLog
from syntor.agentkit.execution.tool_call_deps import ToolCallDeps
from syntor.agentkit.execution.tool_calls import ToolCalls
from syntor.agentkit.model_resolver import ModelResolver, ResolvedModel
from syntor.agentkit.tools.tool import Tool
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.run.v1 import Attachment, TaskAssigned, UserInput
from syntor.contracts.task.v1 import (
    LlmCallDone,
    LlmCallFailed,
    LlmCallStarted,
    ToolCall,
    ToolResult,
    Usage,
)
from syntor.models.chat import (
    ChatMessage,
    ChatModel,
    ChatRequest,
    Completed,
    ModelError,
    Progress,
    TextDelta,
    ToolSpec,
)
from syntor.models.inference import ModelRef

INTERRUPTED = "interrupted"


class TaskContext:
    """One task an agent works on."""

    def __init__(
        self,
        log: TaskLog,
        request: UserInput,
        history: list[ChatMessage],
        models: ModelResolver,
        deps: ToolCallDeps,
        budget: CallBudget,
    ) -> None:
        self.input = log.assigned.instruction or request.content
        """The instruction of a delegated task, else the user's message."""
        self.attachments: list[Attachment] = [] if log.assigned.instruction else list(request.attachments)
        self.history = history
        """Earlier messages of the session, oldest first."""
        self.inputs: dict[str, TaskEnd] = {}
        """Ends of the tasks this one depends on, by task."""
        self.workspace = deps.workspace
        """Folder the tools work in; None: the run has none."""
        self.tools = deps.tools
        """Tools the agent may offer, by name."""
        self.log = log
        self._request = request
        self._models = models
        self._budget = budget
        self._deps = deps
        self._calls = ToolCalls(log, deps)
        self._call = 0

    @property
    def assigned(self) -> TaskAssigned:
        """The assignment."""
        return self.log.assigned

    @property
    def mode(self) -> str:
        """Permission mode of the run: ask, auto-edit, plan or auto."""
        return self._deps.permissions.mode

    async def peers(self) -> list[AgentProfile]:
        """Return the agents this one may delegate to, by id; none while the registry is unavailable."""
        return await self._deps.list_agents()

    @property
    def usage(self) -> Usage:
        """Tokens and cost of all model calls so far."""
        return tasks.total_usage(self.log.state)

    def model_ref(self) -> ModelRef:
        """Return the model that `chat` calls by default; raises ModelError for a wrong configuration."""
        return self._models.resolve(self._request.model).ref

    def emit(self, text: str) -> None:
        """Stream text of the agent itself to the run's subscribers."""
        self.log.deltas.add(text)

    async def progress(self, message: str, fraction: float | None = None) -> None:
        """Publish progress while no text is streamed."""
        await self.log.progress(message, fraction)

    async def prompt(
        self,
        system: str,
        user: str,
        *,
        tools: list[Tool] | None = None,
        max_tokens: int | None = None,
    ) -> LlmCallDone:
        """Call the model with one prompt and no history; see `chat`."""
        messages = [ChatMessage(role="system", content=system), ChatMessage(role="user", content=user)]
        return await self.chat(messages, tools=tools, max_tokens=max_tokens)

    async def chat(
        self,
        messages: list[ChatMessage],
        *,
        tools: list[Tool] | None = None,
        max_tokens: int | None = None,
        model: ResolvedModel | None = None,
    ) -> LlmCallDone:
        """Call a model and stream its completion; a recorded completion is returned without a call.

        Args:
            model: model to call; None: the agent's own.

        Raises:
            ModelError: the call failed; the failure is recorded.
        """
        call = self._call = tasks.next_call(self.log.state, self._call)
        if (recorded := self.log.state.done.get(call)) is not None:
            return recorded
        if self.log.state.open_call == call:
            message = "the process that made this call ended before its result was recorded"
            await self._budget.settle(call, None)
            await self.log.append(LlmCallFailed(call=call, code=INTERRUPTED, message=message))
            call = self._call = tasks.next_call(self.log.state, self._call - 1)
        resolved = model or self._models.resolve(self._request.model)
        offered = tools or []
        request = ChatRequest(
            model=resolved.ref.name,
            messages=messages,
            tools=[ToolSpec(name=t.name, description=t.description, parameters=t.parameters()) for t in offered],
            max_tokens=max_tokens,
            timeout_s=self._request.timeout_s,
        )
        request = await self._budget.reserve(call, request, resolved.model)
        await self.log.append(
            LlmCallStarted(
                call=call,
                provider=resolved.ref.provider,
                model=resolved.ref.name,
                message_count=len(messages),
                tool_names=[tool.name for tool in offered],
            )
        )
        began = time.perf_counter()
        try:
            done = await self._stream(call, resolved.model, request, began)
        except ModelError as exc:
            await self.log.deltas.finish()
            await self._budget.settle(call, None)
            duration_s = round(time.perf_counter() - began, 6)
            await self.log.append(LlmCallFailed(call=call, code=exc.code, message=str(exc), duration_s=duration_s))
            raise
        await self._budget.settle(call, done.usage)
        await self.log.append(done)
        return done

    async def _stream(self, call: int, model: ChatModel, request: ChatRequest, began: float) -> LlmCallDone:
        deltas = self.log.deltas
        deltas.begin(call)
        first_s: float | None = None
        completed: Completed | None = None
        async with aclosing(model.stream(request)) as events:
            async for event in events:
                match event:
                    case TextDelta(text=text):
                        if first_s is None:
                            first_s = time.perf_counter() - began
                        deltas.add(text)
                    case Progress(message=message, fraction=fraction):
                        await self.log.progress(message, fraction)
                    case Completed():
                        completed = event
        if completed is None:
            raise ModelError("bad_response", f"{request.model}: the completion has no end", retryable=True)
        await deltas.finish()
        calls = [
            msgspec.structs.replace(tool_call, id=f"c{call}_{number}")
            for number, tool_call in enumerate(completed.tool_calls, 1)
        ]
        return LlmCallDone(
            call=call,
            text=completed.text,
            tool_calls=calls,
            finish_reason=completed.finish_reason,
            usage=completed.usage,
            duration_s=round(time.perf_counter() - began, 6),
            first_token_s=None if first_s is None else round(first_s, 6),
            provider=completed.provider,
            model=completed.model,
        )

    async def run_tools(self, calls: list[ToolCall]) -> list[ToolResult]:
        """Make tool calls concurrently and return their results in order; one that fails does not stop the others.

        Raises:
            TaskPausedError: one of them waits for a decision or a result from outside; do not catch it, the worker
                pauses the task.
        """
        return await self._calls.run(calls)

    @property
    def tool_calls(self) -> int:
        """Tool calls made so far."""
        return self._calls.made
