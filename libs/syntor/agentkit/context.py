"""What an agent's function is given: its input, and models and tools whose answers are recorded before it sees them."""

from __future__ import annotations

import time
from contextlib import aclosing

import msgspec

from syntor.agentkit import task as tasks
from syntor.agentkit.answers import TaskEnd
from syntor.agentkit.choosing import Chosen, ModelChoice
from syntor.agentkit.spending import Spending
from syntor.agentkit.task_log import TaskLog
from syntor.agentkit.tool_calls import Surroundings, ToolCalls
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
        models: ModelChoice,
        around: Surroundings,
        spending: Spending,
    ) -> None:
        self.input = log.assigned.instruction or request.content
        """What to do, or what the user said."""
        self.attachments: list[Attachment] = [] if log.assigned.instruction else list(request.attachments)
        self.history = history
        """Earlier messages of the session, oldest first."""
        self.inputs: dict[str, TaskEnd] = {}
        """Ends of the tasks this one builds on, by task."""
        self.workspace = around.workspace
        """Folder the tools work in; None: none."""
        self.tools = around.tools
        """Tools the agent may offer, by name."""
        self.log = log
        self._request = request
        self._models = models
        self._spending = spending
        self._around = around
        self._calls = ToolCalls(log, around)
        self._call = 0

    @property
    def assigned(self) -> TaskAssigned:
        """The assignment."""
        return self.log.assigned

    @property
    def mode(self) -> str:
        """What the policy does without asking: ask, auto-edit, plan or auto."""
        return self._around.permissions.mode

    async def colleagues(self) -> list[AgentProfile]:
        """Return the agents this one may ask, by id; none while the registry is away."""
        return await self._around.list_agents()

    @property
    def usage(self) -> Usage:
        """What all model calls so far used."""
        return tasks.total_usage(self.log.state)

    def model_ref(self) -> ModelRef:
        """Return which model `ask_model` asks; raises ModelError for a wrong configuration."""
        return self._models.choose(self._request.model).ref

    def emit(self, text: str) -> None:
        """Stream text of the agent's own to who listens."""
        self.log.deltas.add(text)

    async def progress(self, message: str, fraction: float | None = None) -> None:
        """Say what happens while no text comes."""
        await self.log.progress(message, fraction)

    async def ask_model(
        self,
        system: str,
        user: str,
        *,
        tools: list[Tool] | None = None,
        max_tokens: int | None = None,
    ) -> LlmCallDone:
        """Ask once, without history; see `chat`."""
        messages = [ChatMessage(role="system", content=system), ChatMessage(role="user", content=user)]
        return await self.chat(messages, tools=tools, max_tokens=max_tokens)

    async def chat(
        self,
        messages: list[ChatMessage],
        *,
        tools: list[Tool] | None = None,
        max_tokens: int | None = None,
        model: Chosen | None = None,
    ) -> LlmCallDone:
        """Ask a model and stream its answer; an answer that is recorded is returned without asking.

        Args:
            model: whom to ask; None: the agent's own model.

        Raises:
            ModelError: the model did not answer; that is recorded.
        """
        call = self._call = tasks.next_call(self.log.state, self._call)
        if (recorded := self.log.state.done.get(call)) is not None:
            return recorded
        if self.log.state.open_call == call:
            message = "the process that asked ended before the answer"
            await self._spending.settle(call, None)
            await self.log.append(LlmCallFailed(call=call, code=INTERRUPTED, message=message))
            call = self._call = tasks.next_call(self.log.state, self._call - 1)
        chosen = model or self._models.choose(self._request.model)
        offered = tools or []
        request = ChatRequest(
            model=chosen.ref.name,
            messages=messages,
            tools=[ToolSpec(name=t.name, description=t.description, parameters=t.parameters()) for t in offered],
            max_tokens=max_tokens,
            timeout_s=self._request.timeout_s,
        )
        request = await self._spending.reserve(call, request, chosen.model)
        await self.log.append(
            LlmCallStarted(
                call=call,
                provider=chosen.ref.provider,
                model=chosen.ref.name,
                message_count=len(messages),
                tool_names=[tool.name for tool in offered],
            )
        )
        began = time.perf_counter()
        try:
            done = await self._stream(call, chosen.model, request, began)
        except ModelError as exc:
            await self.log.deltas.finish()
            await self._spending.settle(call, None)
            duration_s = round(time.perf_counter() - began, 6)
            await self.log.append(LlmCallFailed(call=call, code=exc.code, message=str(exc), duration_s=duration_s))
            raise
        await self._spending.settle(call, done.usage)
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
            raise ModelError("bad_response", f"{request.model}: the answer has no end", retryable=True)
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
        """Run tool calls side by side and return their results in order; one that fails does not stop the others.

        Raises:
            TaskPausedError: one of them waits for somebody outside; let it through, the host puts the task down.
        """
        return await self._calls.run(calls)

    @property
    def tool_calls(self) -> int:
        """Tool calls made so far."""
        return self._calls.made
