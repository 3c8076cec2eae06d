"""What an agent's function is given: its input, and models and tools whose answers are recorded before it sees them."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from pathlib import Path

import msgspec

from syntor.agentkit import task as tasks
from syntor.agentkit.choosing import Chosen, ModelChoice
from syntor.agentkit.task_log import TaskLog
from syntor.agentkit.tools import policy
from syntor.agentkit.tools.tool import Tool, ToolError
from syntor.contracts.run.v1 import Attachment, TaskAssigned, UserInput
from syntor.contracts.task.v1 import (
    LlmCallDone,
    LlmCallFailed,
    LlmCallStarted,
    PolicyDecision,
    ToolCall,
    ToolCallCreated,
    ToolDispatched,
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
        tools: dict[str, Tool],
    ) -> None:
        self.input = log.assigned.instruction or request.content
        """What to do, or what the user said."""
        self.attachments: list[Attachment] = list(request.attachments)
        self.history = history
        """Earlier messages of the session, oldest first."""
        self.workspace = Path(request.workspace) if request.workspace else None
        """Folder the tools may look at; None: none."""
        self.tools = tools
        """Tools the agent may offer, by name."""
        self.log = log
        self._request = request
        self._models = models
        self._call = 0
        self._tool_calls = 0

    @property
    def assigned(self) -> TaskAssigned:
        """The assignment."""
        return self.log.assigned

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
            await self.log.append(LlmCallFailed(call=call, code=INTERRUPTED, message=message))
            call = self._call = tasks.next_call(self.log.state, self._call - 1)
        chosen = model or self._models.choose(self._request.model)
        offered = tools or []
        await self.log.append(
            LlmCallStarted(
                call=call,
                provider=chosen.ref.provider,
                model=chosen.ref.name,
                message_count=len(messages),
                tool_names=[tool.name for tool in offered],
            )
        )
        request = ChatRequest(
            model=chosen.ref.name,
            messages=messages,
            tools=[ToolSpec(name=t.name, description=t.description, parameters=t.parameters()) for t in offered],
            max_tokens=max_tokens,
            timeout_s=self._request.timeout_s,
        )
        began = time.perf_counter()
        try:
            done = await self._stream(call, chosen.model, request, began)
        except ModelError as exc:
            await self.log.deltas.finish()
            duration_s = round(time.perf_counter() - began, 6)
            await self.log.append(LlmCallFailed(call=call, code=exc.code, message=str(exc), duration_s=duration_s))
            raise
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
        """Run tool calls side by side and return their results in order; one that fails does not stop the others."""
        self._tool_calls += len(calls)
        return list(await asyncio.gather(*(self._run_tool(call) for call in calls)))

    @property
    def tool_calls(self) -> int:
        """Tool calls made so far."""
        return self._tool_calls

    async def _run_tool(self, call: ToolCall) -> ToolResult:
        state = self.log.state
        if (recorded := state.results.get(call.id)) is not None:
            return recorded
        if call.id not in state.created:
            await self.log.append(ToolCallCreated(call_id=call.id, name=call.name, arguments=call.arguments))
        tool, arguments, refusal = self._parse(call)
        decision = state.decisions.get(call.id)
        if decision is None:
            verdict, reason = (policy.DENY, refusal)
            if tool is not None and not refusal:
                verdict, reason = policy.decide(self.workspace, tool.paths(arguments))
            decision = PolicyDecision(call_id=call.id, decision=verdict, reason=reason)
            await self.log.append(decision)
        if tool is None or decision.decision != policy.ALLOW:
            result = ToolResult(call_id=call.id, content=f"refused: {decision.reason}", is_error=True)
        else:
            if call.id not in state.dispatched:  # all tools here only read: one that may have run is run again
                await self.log.append(ToolDispatched(call_id=call.id))
            result = await self._execute(tool, arguments, call.id)
        await self.log.append(result)
        return result

    def _parse(self, call: ToolCall) -> tuple[Tool | None, msgspec.Struct | None, str]:
        """Return the tool and its arguments, or why the call cannot be made."""
        tool = self.tools.get(call.name)
        if tool is None:
            return None, None, f"there is no tool {call.name!r}; there are {', '.join(self.tools) or 'none'}"
        try:
            return tool, msgspec.json.decode(call.arguments or "{}", type=tool.arguments), ""
        except (msgspec.ValidationError, msgspec.DecodeError) as exc:
            return None, None, f"arguments of {call.name}: {exc}"

    async def _execute(self, tool: Tool, arguments: msgspec.Struct | None, call_id: str) -> ToolResult:
        began = time.perf_counter()
        assert self.workspace is not None, "the policy allows no tool without a workspace"
        try:
            content, failed = await tool.run(self.workspace, arguments), False
        except ToolError as exc:
            content, failed = str(exc), True
        duration_s = round(time.perf_counter() - began, 6)
        return ToolResult(call_id=call_id, content=content, is_error=failed, duration_s=duration_s)
