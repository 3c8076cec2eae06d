"""The loop of a chat agent: ask the model, run the tools it asks for, ask again with their results, until an answer."""

from __future__ import annotations

import re

from syntor.agentkit.answers import TaskEnd
from syntor.agentkit.context import TaskContext
from syntor.agentkit.fitting import fit
from syntor.agentkit.host import AgentFailedError
from syntor.agentkit.manifest import Manifest
from syntor.agentkit.tool_calls import said
from syntor.agentkit.tools.tool import Tool
from syntor.contracts.task.v1 import ToolCall
from syntor.models.chat import ChatMessage

_SMALL = frozenset({"embedded"})  # these call a tool on small talk when one is offered
_SMALL_ROUNDS = 8
_SMALL_CONTEXT_TOKENS = 6000  # of the 8,192 the embedded server keeps: the rest is for tools and the answer
_LOOKS = re.compile(
    r"\b(files?|folders?|director(y|ies)|repo(sitory)?|project|code|modules?|functions?|class(es)?|readme|diff|commits?"
    r"|staged|changes?|branch|tests?|look up|grep|rename|edit|replace|run|git)\b|[\w-]+\.[a-z]{1,4}\b|/",
    re.IGNORECASE,
)
_CHANGES = re.compile(
    r"\b(edit|replace|rename|change|add|remove|delete|fix|write|create|update|insert|set|make|refactor|commit)\b",
    re.IGNORECASE,
)
_RUNS = re.compile(r"\b(run|execute|tests?|build|install|command|shell|bash|commit|push|branch)\b", re.IGNORECASE)
_GIT = re.compile(
    r"\b(git|commits?|diff(erence)?s?|staged|branch(es)?|merge|push|pull|history|clone|changes|changed)\b",
    re.IGNORECASE,
)
_TEAM = re.compile(r"\b(plan|delegate|agents?|hand over|specialists?)\b", re.IGNORECASE)


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
            TaskPausedError: a tool call waits for somebody outside.
        """
        constraints = self._manifest.constraints
        messages = [
            ChatMessage(role="system", content=await self._system(task)),
            *task.history,
            ChatMessage(role="user", content=with_attachments(task)),
        ]
        earlier: list[ToolCall] = []
        for number in range(constraints.max_tool_rounds + 1):
            offered = self._offered(task, number, earlier)
            small = task.model_ref().provider in _SMALL
            room = constraints.context_tokens or (_SMALL_CONTEXT_TOKENS if small else 0)
            done = await task.chat(fit(messages, room), tools=offered, max_tokens=constraints.max_output_tokens)
            if not done.tool_calls:
                return done.text
            if number == constraints.max_tool_rounds:
                break
            results = await task.run_tools(done.tool_calls)
            earlier = done.tool_calls
            messages.append(ChatMessage(role="assistant", content=done.text, tool_calls=done.tool_calls))
            messages += [
                ChatMessage(role="tool", content=result.content, tool_call_id=result.call_id) for result in results
            ]
        limit = constraints.max_tool_rounds
        raise AgentFailedError("tool_rounds_exceeded", f"no answer after {limit} rounds of tool calls")

    def _offered(self, task: TaskContext, number: int, earlier: list[ToolCall]) -> list[Tool]:
        """Return the tools to offer: to a small model only those that help, and none once it goes in circles."""
        tools = list(task.tools.values())
        if task.model_ref().provider not in _SMALL:
            return tools
        if number >= _SMALL_ROUNDS or _repeats(task, earlier):
            return []
        looks = _LOOKS.search(task.input) is not None
        wanted = {
            "read": looks,
            "write": looks and _CHANGES.search(task.input) is not None,
            "execute": looks and _RUNS.search(task.input) is not None,
            "network": "://" in task.input,
            "team": _TEAM.search(task.input) is not None,
            "client": True,
        }
        if not _GIT.search(task.input):
            tools = [tool for tool in tools if not tool.name.startswith("git_")]
        text = task.input.lower()
        return [tool for tool in tools if wanted[tool.effect] or (_server(tool) and _server(tool) in text)]

    async def _system(self, task: TaskContext) -> str:
        """Return the prompt with what the agent cannot know: where it works, in which mode, and whom it can ask."""
        parts = [self._manifest.prompt]
        small = task.model_ref().provider in _SMALL
        if task.workspace is not None and not small:
            parts.append(f"The workspace is {task.workspace}; give paths relative to it.")
        if task.mode == "plan":
            parts.append("Plan mode: nothing may be changed. Look at what you need, then present a plan and stop.")
        if any(tool.effect == "team" for tool in task.tools.values()) and (not small or _TEAM.search(task.input)):
            known = await task.colleagues()
            lines = [f"- {profile.agent_id}: {profile.description}" for profile in known]
            if lines:
                parts.append("\n".join(["Agents you can ask:", *lines]))
        return "\n\n".join(parts)


def _server(tool: Tool) -> str:
    """Return the MCP server a tool is of, in lower case; empty: of none."""
    return tool.name.split("_")[1].lower() if tool.name.startswith("mcp_") else ""


def _repeats(task: TaskContext, newest: list[ToolCall]) -> bool:
    """Tell whether the newest calls were all made before, with the same arguments."""
    asked = [(call.name, call.arguments) for done in task.log.state.done.values() for call in done.tool_calls]
    return bool(newest) and all(asked.count((call.name, call.arguments)) > 1 for call in newest)


def with_attachments(task: TaskContext) -> str:
    """Return the input with its attachments below, each under its name, and the results it builds on."""
    parts = [task.input]
    parts += [f"{attachment.name}:\n```\n{attachment.content}\n```" for attachment in task.attachments]
    parts += [f"Result of an earlier step:\n{_result(end)}" for end in task.inputs.values()]
    return "\n\n".join(parts)


def _result(end: TaskEnd) -> str:
    return said(end)[0]
