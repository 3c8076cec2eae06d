"""What a simulated machine has in place of the real one: a model, tools, a database, no bubblewrap, no disk."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import msgspec
import structlog

from syntor.agentkit.tools.catalog import all_tools
from syntor.agentkit.tools.tool import Tool, ToolRun
from syntor.contracts.task.v1 import ToolCall, Usage
from syntor.jetstream import connection
from syntor.models.chat import Bound, ChatRequest, Completed, ModelError, StreamEvent, TextDelta
from syntor.models.inference import InferenceConfig, ModelRef
from syntor.projector.domain.read_model import ReadModel
from syntor.simulation.scenario import Script
from syntor.testing.read_model import MemoryReadModelStore, new_database

_DELEGATION = ("delegate", "handoff", "plan")
_SILENT = logging.CRITICAL
_decode = msgspec.json.Decoder(Script).decode


class Ring(msgspec.Struct, frozen=True):
    """Arguments of the tool that has an effect."""

    seconds: float = 0.0


class Machine:
    """What happened outside the log: effects of tools and calls of models."""

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        """How often each tool call had its effect, by its key."""
        self.model_calls: Counter[tuple[str, int]] = Counter()
        """How often each call of a model was made, by tag and step."""
        self.database = new_database(_empty_image())
        """The read model's, which all projectors share."""

    def tools(self) -> dict[str, Tool]:
        """Return all tools an agent can have."""
        tools = {name: tool for name, tool in all_tools().items() if name in _DELEGATION}
        for name in ("ring", "ask_ring"):
            tools[name] = Tool(
                name=name,
                description="Rings",
                arguments=Ring,
                run=self._ring,
                paths=lambda arguments: [],
                effect="network",
                repeatable=False,
            )
        return tools

    async def _ring(self, run: ToolRun, arguments: Ring) -> str:
        self.effects[run.key] += 1
        await asyncio.sleep(arguments.seconds)
        return f"rang for {arguments.seconds:g} s"

    def open_model(self, ref: ModelRef, config: InferenceConfig, fallbacks: list[str] | None = None) -> SimulatedModel:
        """Return the model."""
        return SimulatedModel(self)

    def open_store(self, url: str) -> MemoryReadModelStore:
        """Return a projector's store of the read model."""
        return MemoryReadModelStore(self.database)


@cache
def _empty_image() -> bytes:
    """Return a database with the tables of the read model; to create them takes longer than to copy them."""
    database = new_database()
    MemoryReadModelStore(database).create(ReadModel())
    image: bytes = database.serialize()
    return image


class SimulatedModel:
    """`ChatModel` that follows the script in the newest message of its user."""

    provider = "simulated"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def close(self) -> None:
        """Do nothing."""

    async def bound(self, request: ChatRequest) -> Bound:
        """Return a fixed bound: the prompt's, and as many tokens as a response has words."""
        script, number = _place(request)
        return Bound(input_tokens=10, output_tokens=script.steps[number].words)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream the step of the script that follows the results of the tools called so far."""
        script, number = _place(request)
        step = script.steps[number]
        self._machine.model_calls[script.tag, number] += 1
        for piece in range(step.words):
            await asyncio.sleep(step.pause_s)
            yield TextDelta(f"{step.text} {piece} ")
        if step.error:
            raise ModelError(step.error, "as the script says", retryable=step.error == "model_unavailable")
        calls = [
            ToolCall(id=f"m{n}", name=call["name"], arguments=msgspec.json.encode(call["arguments"]).decode())
            for n, call in enumerate(step.calls)
        ]
        text = "".join(f"{step.text} {piece} " for piece in range(step.words))
        usage = Usage(input_tokens=10, output_tokens=step.words)
        yield Completed(text=text, tool_calls=calls, usage=usage, model="simulated", provider=self.provider)


def _place(request: ChatRequest) -> tuple[Script, int]:
    """Return the script of a request, and the number of its step: how often the assistant spoke since."""
    spoken = 0
    for message in reversed(request.messages):
        if message.role == "user":
            script = _decode(message.content.partition("\n")[0])
            return script, min(spoken, len(script.steps) - 1)
        spoken += message.role == "assistant"
    raise ModelError("bad_response", "a request without a user's message")


async def _no_bubblewrap() -> tuple[str, str]:
    return "", "simulated"


@contextmanager
def simulated_machine(machine: Machine) -> Generator[None, None, None]:
    """Let the composition roots of the services find this machine; they run unchanged."""
    places: list[tuple[str, str, Callable[..., Any]]] = [
        ("syntor.agentkit.model_resolver", "open_model", machine.open_model),
        ("syntor.agentkit.worker.entrypoint", "all_tools", machine.tools),
        ("syntor.agentkit.tools.sandbox", "probe", _no_bubblewrap),
        ("syntor.projector.__main__", "open_store", machine.open_store),
    ]
    with ExitStack() as stack:
        stack.enter_context(
            replaced(connection, {"_WATCH_EVERY_S": 3600.0})
        )  # for a read loop that ended: there is none
        for module, name, replacement in places:
            stack.enter_context(replaced(importlib.import_module(module), {name: replacement}))
        yield


@contextmanager
def replaced(target: Any, attributes: Mapping[str, Any]) -> Generator[None, None, None]:
    """Replace attributes of a module or class for a while."""
    kept = {name: getattr(target, name) for name in attributes}
    for name, value in attributes.items():
        setattr(target, name, value)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(target, name, value)


@contextmanager
def logs_to(write: Callable[[str], None] | None) -> Generator[None, None, None]:
    """Send what services log to a function; None: drop it."""
    level = logging.DEBUG if write is not None else _SILENT

    class Sink:
        """Takes lines as a file does."""

        def msg(self, message: str) -> None:
            if write is not None:
                write(message)

        debug = info = warning = error = critical = exception = log = msg

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if write is not None:
                cause = f": {record.exc_info[1]!r}" if record.exc_info else ""
                write(f"{record.levelname.lower()} {record.getMessage()}{cause}")

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: Sink(),
        cache_logger_on_first_use=False,
    )
    root, handler = logging.getLogger("syntor"), Handler()
    before, propagates = root.level, root.propagate
    root.setLevel(logging.INFO if write is not None else _SILENT)
    root.propagate = False
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        root.propagate = propagates
        structlog.reset_defaults()
