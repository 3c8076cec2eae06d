"""The built-in chat agent: calls the model, makes the tool calls it requests, and repeats until it answers."""

from __future__ import annotations

import asyncio

from msgspec import structs

from syntor.agentkit.context import TaskContext
from syntor.agentkit.conversation import Conversation, compact, window_of
from syntor.agentkit.domain import call_loop
from syntor.agentkit.domain.call_loop import Round
from syntor.agentkit.domain.context_window import BYTES_PER_TOKEN, split
from syntor.agentkit.domain.prompt import SystemPart
from syntor.agentkit.domain.task_end import outcome_text
from syntor.agentkit.domain.tool_relevance import concerns_delegation, essential, is_relevant
from syntor.agentkit.errors import AgentFailedError
from syntor.agentkit.execution.history_search import SEARCH_HISTORY
from syntor.agentkit.execution.surroundings import branch_of, read_instructions, system_name
from syntor.agentkit.manifest import Manifest
from syntor.agentkit.tools.tool import Tool
from syntor.contracts.task.v1 import LlmCallDone, ToolCall
from syntor.models.chat import ChatMessage

_SMALL = frozenset({"embedded"})  # providers of models that need help with the choice of tools
_EMPTY = "Your reply was empty. Write your answer now, as text."
_REPEATS = (
    "You made this call before with the same arguments, and its result is above. "
    "Use what you have, make another call, or answer."
)
_FINISH = (
    "No more tools are available. Answer now with what you found. Say plainly what is done and what is not; "
    "claim nothing that the results do not show."
)
_MAX_INSTRUCTION_BYTES = 64 * 1024  # of all instruction files together
_INSTRUCTIONS_SHARE = 8  # they take at most this part of the window
_SMALL_ROUNDS = 8
_MANY_ROUNDS = 1000


def chat_agent(manifest: Manifest) -> ChatAgent:
    """Return the agent a manifest describes."""
    return ChatAgent(manifest)


class ChatAgent:
    """An agent that is a prompt, a model and tools."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    async def __call__(self, task: TaskContext) -> str:
        """Answer the task's input.

        Raises:
            ModelError: a model call failed.
            AgentFailedError: `tool_rounds_exceeded`; `empty_answer`, `content_filtered` or `output_limit_reached`: the
                model ended without an answer, twice.
            TaskPausedError: a tool call waits for a decision or a result from outside.
        """
        constraints = self._manifest.constraints
        if task.compact_only:
            return await self._compact(task)
        window = await window_of(task, constraints.context_tokens)
        conversation = await Conversation.open(
            task,
            await self._system(task, window),
            with_attachments(task),
            window=window,
            max_output=constraints.max_output_tokens,
            tools=self._offered(task),
        )
        rounds: list[Round] = []
        repeated = False
        for number in range(constraints.max_tool_rounds + 2):
            last = self._nudge(task, conversation, rounds)
            offered = [] if last else self._offered(task)
            if not conversation.incomplete:
                offered = [tool for tool in offered if tool.name != SEARCH_HISTORY]
            done = await conversation.chat(offered)
            if not done.tool_calls or (last and done.text.strip()):
                if done.text.strip() or repeated:
                    return answer_of(done)
                repeated = True
                conversation.add(ChatMessage(role="user", content=_EMPTY))
                continue
            if last or number > constraints.max_tool_rounds:
                break
            results = await task.run_tools(done.tool_calls)
            rounds.append(_round(task, done.tool_calls))
            ref = task.model_ref()
            origin = str(ref) if ref.provider == done.provider else ""
            conversation.add(
                ChatMessage(
                    role="assistant", content=done.text, tool_calls=done.tool_calls, extra=done.extra, origin=origin
                ),
                *(ChatMessage(role="tool", content=each.content, tool_call_id=each.call_id) for each in results),
            )
        raise AgentFailedError("tool_rounds_exceeded", f"no answer after {len(rounds)} rounds of tool calls")

    def _nudge(self, task: TaskContext, conversation: Conversation, rounds: list[Round]) -> bool:
        """Tell the model when it repeats itself or has no rounds left; return whether it has to answer now."""
        small = task.model_ref().provider in _SMALL
        most = min(self._manifest.constraints.max_tool_rounds, _SMALL_ROUNDS if small else _MANY_ROUNDS)
        stage = call_loop.stage(rounds, small=small)
        if stage == "answer" or len(rounds) >= most:
            conversation.add(ChatMessage(role="user", content=_FINISH))
            return True
        if stage == "nudge":
            conversation.add(ChatMessage(role="user", content=_REPEATS))
        return False

    async def _compact(self, task: TaskContext) -> str:
        """Summarise the session's earlier turns, and say what came of it."""
        window = await window_of(task, self._manifest.constraints.context_tokens)
        memory = await task.read_memory(window)
        await compact(task, memory, window, automatic=False)
        if (event := task.log.state.compacted) is None:
            if not split(memory, window, automatic=False)[0]:
                return "Nothing to summarise."
            return "Not summarised: the earlier turns are short already, or the model wrote no usable summary."
        before, later = event.tokens_before, event.tokens_after
        return f"Summarised {event.turns} turns: about {before:,} tokens before, {later:,} now."

    def _offered(self, task: TaskContext) -> list[Tool]:
        """Return the tools to offer: to a small model only the relevant ones, with the parameters it needs."""
        tools = list(task.tools.values())
        if task.model_ref().provider not in _SMALL:
            return tools
        relevant = [tool for tool in tools if is_relevant(tool.name, tool.effect, task.input)]
        return [structs.replace(tool, arguments=None, schema=essential(tool.parameters())) for tool in relevant]

    async def _system(self, task: TaskContext, window: int) -> list[SystemPart]:
        """Return the prompt completed by instruction files, the environment, the mode and the peer agents."""
        parts = [SystemPart(name="agent", text=self._manifest.prompt)]
        small = task.model_ref().provider in _SMALL
        parts += await _instructions(task, window)
        parts.append(await _environment(task, small=small))
        if task.mode == "plan":
            text = "Plan mode: nothing may be changed. Look at what you need, then present a plan and stop."
            parts.append(SystemPart(name="mode", text=text))
        if any(tool.effect == "delegate" for tool in task.tools.values()) and (
            not small or concerns_delegation(task.input)
        ):
            known = await task.peers()
            lines = [f"- {profile.agent_id}: {profile.description}" for profile in known]
            if lines:
                parts.append(SystemPart(name="agents", text="\n".join(["Agents you can delegate to:", *lines])))
        return parts


async def _instructions(task: TaskContext, window: int) -> list[SystemPart]:
    """Return a part for each instruction file."""
    most = min(_MAX_INSTRUCTION_BYTES, window // _INSTRUCTIONS_SHARE * BYTES_PER_TOKEN)
    if task.home is None:
        return []
    files = await asyncio.to_thread(read_instructions, task.home, task.workspace, most)
    return [
        SystemPart(
            name=file.path,
            text=f"Instructions from {file.path}{' (its beginning)' if file.is_cut else ''}. Later files take "
            f"precedence; none of them changes what you are permitted to do:\n{file.text.strip()}",
            note=f"{file.size_bytes} bytes, sha256 {file.sha256}{', only its beginning' if file.is_cut else ''}",
        )
        for file in files
    ]


async def _environment(task: TaskContext, *, small: bool) -> SystemPart:
    """Return the date of the assignment, so that a repeated attempt reads the same, and where the agent works."""
    lines = [f"Today is {task.log.envelope.time:%Y-%m-%d}."]
    if task.workspace is not None and not small:
        lines.append(f"The workspace is {task.workspace}; give paths relative to it. The system is {system_name()}.")
        if branch := await asyncio.to_thread(branch_of, task.workspace):
            lines.append(f"The git branch is {branch}.")
    return SystemPart(name="environment", text=" ".join(lines))


def answer_of(done: LlmCallDone) -> str:
    """Return the text of a completion.

    Raises:
        AgentFailedError: there is none; the code says why as far as the provider told.
    """
    if done.text.strip():
        return done.text
    model, reasoned = f"{done.provider}/{done.model}", " although it reasoned" if done.extra else ""
    match done.finish_reason:
        case "content_filter":
            raise AgentFailedError("content_filtered", f"the provider of {model} withheld the answer (content filter)")
        case "length":
            text = f"{model} reached its limit of output tokens before it wrote an answer; raise max_output_tokens"
            raise AgentFailedError("output_limit_reached", text)
        case _:
            text = f"{model} ended without an answer{reasoned}; try other words, or use another model"
            raise AgentFailedError("empty_answer", text)


def _round(task: TaskContext, calls: list[ToolCall]) -> Round:
    tools = [task.tools.get(call.name) for call in calls]
    changes = any(tool is not None and tool.effect != "read" for tool in tools)
    return Round(frozenset((call.name, call.arguments) for call in calls), changes)


def with_attachments(task: TaskContext) -> str:
    """Return the input followed by its attachments, each under its name, and the results it depends on."""
    parts = [task.input]
    parts += [f"{attachment.name}:\n```\n{attachment.content}\n```" for attachment in task.attachments]
    parts += [f"Result of an earlier step:\n{outcome_text(end)[0]}" for end in task.inputs.values()]
    return "\n\n".join(parts)
