"""The line after an answer that says what was done, from the events alone: files, lines, commands, tests."""

from __future__ import annotations

import re

from syntor.cli.event import Event
from syntor.contracts.run.v1 import RunDone
from syntor.contracts.task.v1 import LlmCallDone, ToolResult, WorkspaceCheckpointed

_CLAIM = re.compile(
    r"\bI(?:'ve|\u2019ve| have)?\s+(?:now\s+|also\s+|successfully\s+)*"
    r"(?:created|wrote|written|changed|updated|edited|modified|added|fixed|deleted|removed|renamed|moved|implemented|refactored|replaced)\b",
    re.IGNORECASE,
)
_TESTS = re.compile(
    r"\b(?:pytest|unittest|tox|nox|ctest|rspec|jest|vitest|phpunit|(?:make|just) (?:test|check)\w*|"
    r"(?:cargo|go|dotnet) test|cargo nextest|(?:npm|yarn|pnpm|bun)(?: run)? test|(?:mvn|gradle|gradlew)\b.* test)\b"
)
_OTHER_EXIT_CODE = re.compile(r"[|;]|(?<![&>])&(?!&)")  # then the exit code of the command may not be that of the tests


class WorkDone:
    """Collects what a run did."""

    def __init__(self) -> None:
        self._commands: dict[tuple[str, str], str] = {}
        self._changed: dict[str, WorkspaceCheckpointed] = {}
        self._problem = ""
        self._ran = 0
        self._test_runs = 0
        self._tests = ""
        self._answer = ""

    def note(self, event: Event) -> None:
        """Note one event of the run."""
        match event.body:
            case LlmCallDone(tool_calls=calls):
                self._commands.update(
                    {(event.task_id, call.id): call.arguments for call in calls if call.name == "bash"}
                )
            case ToolResult(outcome="completed") as result if (event.task_id, result.call_id) in self._commands:
                self._command(self._commands[event.task_id, result.call_id], result)
            case WorkspaceCheckpointed(problem=problem) if problem:
                self._problem = problem
            case WorkspaceCheckpointed(moment="after") as checkpoint:
                self._changed[event.task_id] = checkpoint
            case RunDone(final_message=text):
                self._answer = text
            case _:
                return

    def line(self) -> str:
        """Return what was done; empty: no file changed, and the answer does not say that one did."""
        files = sum(each.changed_files for each in self._changed.values())
        if not files and not self._problem and not _CLAIM.search(self._answer):
            return ""
        added = sum(each.lines_added for each in self._changed.values())
        removed = sum(each.lines_removed for each in self._changed.values())
        parts = [f"{_count(files, 'file')} changed" + (f", +{added} -{removed}" if files else "")]
        if self._problem:
            parts = [f"changes were not counted: {self._problem}"]
        if self._ran:
            parts.append(f"{_count(self._ran, 'command')} run")
        if self._test_runs:
            parts.append(f"{_count(self._test_runs, 'test run')}, the last {self._tests}")
        return " · ".join(parts)

    def _command(self, arguments: str, result: ToolResult) -> None:
        self._ran += 1
        if not _TESTS.search(arguments):
            return
        self._test_runs += 1
        code = re.match(r"exit code \d+", result.content)
        if result.is_error:
            self._tests = f"failed: {code[0]}" if code else "did not end"
        else:
            piped = _OTHER_EXIT_CODE.search(arguments)
            self._tests = "ended, its exit code may be another program's" if piped else "passed"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
