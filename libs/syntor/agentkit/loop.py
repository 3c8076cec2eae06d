"""The loop of a chat agent: ask the model, run the tools it asks for, ask again with their results, until an answer."""

from __future__ import annotations

import re

from syntor.agentkit.context import TaskContext
from syntor.agentkit.host import AgentFailedError
from syntor.agentkit.manifest import Manifest
from syntor.agentkit.tools.tool import Tool
from syntor.models.chat import ChatMessage

_SMALL = frozenset({"embedded"})  # these call a tool on small talk when one is offered
_SMALL_ROUNDS = 2
_LOOKS = re.compile(
    r"\b(files?|folders?|director(y|ies)|repo(sitory)?|project|code|modules?|functions?|class(es)?|readme|diff|commits?"
    r"|staged|changes?|branch|tests?|look up|grep)\b|[\w-]+\.[a-z]{1,4}\b|/",
    re.IGNORECASE,
)


def chat_agent(manifest: Manifest) -> ChatAgent:
    """Return the agent a manifest declares."""
    return ChatAgent(manifest)


class ChatAgent:
    """An agent that is a prompt, a model and tools."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    async def __call__(self, task: TaskContext) -> str:
        """Answer the task's input.

        Raises:
            ModelError: the model did not answer.
            AgentFailedError: `tool_rounds_exceeded`.
        """
        messages = [
            ChatMessage(role="system", content=self._manifest.prompt),
            *task.history,
            ChatMessage(role="user", content=with_attachments(task)),
        ]
        limit = self._manifest.constraints.max_tool_rounds
        for number in range(limit + 1):
            offered = self._offered(task, number)
            done = await task.chat(messages, tools=offered, max_tokens=self._manifest.constraints.max_output_tokens)
            if not done.tool_calls:
                return done.text
            if number == limit:
                break
            results = await task.run_tools(done.tool_calls)
            messages.append(ChatMessage(role="assistant", content=done.text, tool_calls=done.tool_calls))
            messages += [
                ChatMessage(role="tool", content=result.content, tool_call_id=result.call_id) for result in results
            ]
        raise AgentFailedError("tool_rounds_exceeded", f"no answer after {limit} rounds of tool calls")

    def _offered(self, task: TaskContext, number: int) -> list[Tool]:
        """Return the tools to offer: to a small model only when they help, and not after they answered."""
        if task.workspace is None:
            return []
        small = task.model_ref().provider in _SMALL
        if small and (number >= _SMALL_ROUNDS or (number and self._answered(task)) or not _LOOKS.search(task.input)):
            return []
        return list(task.tools.values())

    @staticmethod
    def _answered(task: TaskContext) -> bool:
        results = list(task.log.state.results.values())
        return bool(results) and not results[-1].is_error


def with_attachments(task: TaskContext) -> str:
    """Return the input with its attachments below, each under its name."""
    parts = [task.input]
    parts += [f"{attachment.name}:\n```\n{attachment.content}\n```" for attachment in task.attachments]
    return "\n\n".join(parts)
