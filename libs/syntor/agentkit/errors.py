"""How an agent's function ends a task other than by returning its answer."""

from __future__ import annotations

from syntor.contracts.errors import RejectionError
from syntor.contracts.task.v1 import Wait


class AgentFailedError(RejectionError):
    """The agent fails its task; `code` and the text become the task's end."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class TaskPausedError(Exception):
    """The task waits for a decision, a submitted result or another task; the worker pauses it."""

    def __init__(self, waits: list[Wait]) -> None:
        super().__init__(f"waits for {', '.join(wait.id for wait in waits)}")
        self.waits = waits
