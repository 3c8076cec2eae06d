"""What an agent's function is given: its input, and models and tools whose results are recorded before it sees them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from syntor.agentkit.domain import task as tasks
from syntor.agentkit.domain.context_window import Memory
from syntor.agentkit.domain.task_end import TaskEnd
from syntor.agentkit.execution.model_calls import ModelCalls, PromptParts
from syntor.agentkit.execution.task_log import TaskLog
from syntor.agentkit.execution.tool_call_deps import ToolCallDeps
from syntor.agentkit.execution.tool_calls import ToolCalls
from syntor.agentkit.model_resolver import ResolvedModel
from syntor.agentkit.tools.tool import Tool
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.run.v1 import Attachment, TaskAssigned, UserInput
from syntor.contracts.task.v1 import LlmCallDone, ToolCall, ToolResult, Usage
from syntor.contracts.vocabulary import DEFAULT_MODE, PermissionMode
from syntor.models.chat import ChatMessage
from syntor.models.inference import ModelRef


async def _no_memory(_: int) -> Memory:
    return Memory()


class TaskContext:
    """One task an agent works on."""

    def __init__(
        self,
        log: TaskLog,
        request: UserInput,
        history: list[ChatMessage],
        model_calls: ModelCalls,
        deps: ToolCallDeps,
        read_memory: Callable[[int], Awaitable[Memory]] = _no_memory,
        home: Path | None = None,
    ) -> None:
        self.input = log.assigned.instruction or request.content
        """The instruction of a delegated task, else the user's message."""
        self.attachments: list[Attachment] = [] if log.assigned.instruction else list(request.attachments)
        self.history = history
        """Earlier messages of the session, oldest first: what was said, as far as it fits any model."""
        self.home = home
        """Home folder of the installation."""
        self.compact_only = request.compact
        """Whether to summarise the session's earlier turns and do nothing else."""
        self.read_memory = read_memory
        """Reads the session's earlier turns; with their tool calls as far as about so many tokens reach."""
        self.inputs: dict[str, TaskEnd] = {}
        """Ends of the tasks this one depends on, by task."""
        self.workspace = deps.workspace
        """Folder the tools work in; None: the run has none."""
        self.tools = deps.tools
        """Tools the agent may offer, by name."""
        self.log = log
        self._deps = deps
        self._model_calls = model_calls
        self._tool_calls = ToolCalls(log, deps)

    @property
    def assigned(self) -> TaskAssigned:
        """The assignment."""
        return self.log.assigned

    @property
    def mode(self) -> PermissionMode:
        """Permission mode of the run."""
        return self._deps.permissions.mode or DEFAULT_MODE

    async def peers(self) -> list[AgentProfile]:
        """Return the agents this one may delegate to, by id; none while the registry is unavailable."""
        return await self._deps.list_agents()

    @property
    def usage(self) -> Usage:
        """Tokens and cost of all model calls so far."""
        return tasks.total_usage(self.log.state)

    def model_ref(self) -> ModelRef:
        """Return the model that `chat` calls by default; raises ModelError for an invalid configuration."""
        return self._model_calls.default().ref

    async def window(self) -> int:
        """Return the tokens of the model's context; 0: not known. Raises ModelError for an invalid configuration."""
        return await self._model_calls.window()

    def compact_at(self) -> float:
        """Return the share of the context at which earlier turns are summarised."""
        return self._model_calls.compact_at()

    async def summarize(self, messages: list[ChatMessage], max_tokens: int) -> LlmCallDone:
        """Call the model for a summary: recorded and counted as any call, but not streamed; see `chat`."""
        return await self._model_calls.make(messages, [], max_tokens, None, purpose="summary")

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
        repeatable: bool = True,
        prompt: PromptParts = PromptParts(),  # noqa: B008 - frozen
    ) -> LlmCallDone:
        """Call a model and stream its completion; a recorded completion is returned without a call.

        Args:
            model: model to call; None: the agent's own.
            prompt: what the messages consist of, for the record.
            repeatable: whether a call that failed, or was interrupted by the end of its process, may be made again.

        Raises:
            ModelError: the call failed, and the failure is recorded; or it was made before and is not repeatable.
        """
        return await self._model_calls.make(
            messages, tools or [], max_tokens, model, repeatable=repeatable, prompt=prompt
        )

    async def run_tools(self, calls: list[ToolCall]) -> list[ToolResult]:
        """Make tool calls concurrently and return their results in order; one that fails does not stop the others.

        Raises:
            TaskPausedError: one of them waits for a decision or a result from outside; do not catch it, the worker
                pauses the task.
        """
        return await self._tool_calls.run(calls)
