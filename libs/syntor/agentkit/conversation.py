"""One task's conversation with its model: earlier turns, the turn in progress, and what of them fits the prompt."""

from __future__ import annotations

from syntor.agentkit.context import TaskContext
from syntor.agentkit.domain.context_window import (
    UNKNOWN_WINDOW,
    Memory,
    after,
    compacted,
    correction,
    fit_memory,
    is_due,
    output_room,
    split,
    summary_prompt,
    tokens_of_all,
    tokens_of_text,
    tokens_of_tools,
    truncate_results,
)
from syntor.agentkit.domain.prompt import SystemPart, context_parts, system_message
from syntor.agentkit.execution.model_calls import PromptParts
from syntor.agentkit.tools.tool import Tool
from syntor.contracts.task.v1 import LlmCallDone
from syntor.models.chat import ChatMessage, ModelError, ToolSpec

_OWN_SHARE = 3 / 4  # of the room, that the turn in progress may take from the earlier ones
_SUMMARY_TOKENS = 1 / 6  # of the window: what the model may write for a summary


class Conversation:
    """The prompt of each model call of one task."""

    def __init__(
        self,
        task: TaskContext,
        window: int,
        memory: Memory,
        system: list[SystemPart],
        user: str,
        max_output: int | None,
    ) -> None:
        """Prepare.

        Args:
            window: tokens of the model's context.
            system: the system prompt.
            user: the user's message.
        """
        self._task = task
        self._window = window
        self._memory = memory
        self._parts = system
        self._system = system_message(system)
        self._own = [ChatMessage(role="user", content=user)]
        self._max_output = max_output
        self._scale = 1.0
        self.incomplete = bool(memory.summary)
        """Whether earlier turns are summarised or left out."""

    @classmethod
    async def open(
        cls,
        task: TaskContext,
        system: list[SystemPart],
        user: str,
        *,
        window: int,
        max_output: int | None,
        tools: list[Tool],
    ) -> Conversation:
        """Read the earlier turns and summarise them if that is due; see `__init__`."""
        memory = await task.read_memory(window)
        needed = sum(tokens_of_all(turn.messages) for turn in memory.turns) + tokens_of_text(user)
        needed += tokens_of_all([system_message(system)])
        needed += tokens_of_tools(_specs(tools))
        if task.log.state.compacted is not None or is_due(memory, needed, window, task.compact_at()):
            memory = await compact(task, memory, window, automatic=True)
        return cls(task, window, memory, system, user, max_output)

    def add(self, *messages: ChatMessage) -> None:
        """Add messages to the turn in progress."""
        self._own += messages

    async def chat(self, tools: list[Tool]) -> LlmCallDone:
        """Call the model with as much of the conversation as fits; once more with half if that was too long after all.

        Raises:
            ModelError: the call failed.
        """
        specs = _specs(tools)
        prompt, parts = self._prompt(specs)
        try:
            done = await self._task.chat(prompt, tools=tools, max_tokens=self._max_output, prompt=parts)
        except ModelError as exc:
            if exc.code != "context_exceeded":
                raise
            self._window //= 2
            await self._task.progress(
                "the prompt is too long for the model: trying again with less of the conversation"
            )
            prompt, parts = self._prompt(specs)
            done = await self._task.chat(prompt, tools=tools, max_tokens=self._max_output, prompt=parts)
        self._scale = correction(tokens_of_all(prompt) + tokens_of_tools(specs), done.usage.input_tokens)
        return done

    def _prompt(self, specs: list[ToolSpec]) -> tuple[list[ChatMessage], PromptParts]:
        """Return the messages of the next call, and what they consist of."""
        room = int((self._window - output_room(self._window, self._max_output)) / self._scale)
        room -= tokens_of_tools(specs) + tokens_of_all([self._system])
        own = truncate_results(self._own, max(room // 4, int(room * _OWN_SHARE) if self._memory.turns else room))
        fitted = fit_memory(self._memory, room - tokens_of_all(own))
        self.incomplete = bool(self._memory.summary or fitted.turns_left_out or fitted.turns_shortened)
        parts = context_parts(self._parts, self._memory, fitted, own, tokens_of_tools(specs), len(specs))
        return [self._system, *fitted.messages, *own], PromptParts(self._window, parts)


async def window_of(task: TaskContext, limit: int) -> int:
    """Return the tokens of context a task may use."""
    window = await task.window() or UNKNOWN_WINDOW
    return min(window, limit) if limit else window


async def compact(task: TaskContext, memory: Memory, window: int, *, automatic: bool) -> Memory:
    """Summarise the oldest turns, record that, and return what is left; a failure is said and changes nothing.

    Raises:
        AgentFailedError: a limit of the run leaves no room for a call.
    """
    if (recorded := task.log.state.compacted) is not None:
        return after(memory, recorded)
    covered, _ = split(memory, window, automatic=automatic)
    if not covered:
        return memory
    await task.progress(f"summarising {len(covered)} earlier turns")
    try:
        done = await task.summarize(summary_prompt(memory.summary, covered, window), int(window * _SUMMARY_TOKENS))
        event = compacted(done.text, covered, memory, window, automatic=automatic)
        reason = "the model wrote no usable summary"
    except ModelError as exc:
        event, reason = None, str(exc)
    if event is None:
        note = f"the conversation could not be summarised ({reason}); its oldest turns are left out where room is short"
        await task.log.progress(note, None, always=True)
        return memory
    await task.log.append(event)
    return after(memory, event)


def _specs(tools: list[Tool]) -> list[ToolSpec]:
    return [ToolSpec(name=tool.name, description=tool.description, parameters=tool.parameters()) for tool in tools]
