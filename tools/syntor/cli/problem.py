"""The refusal of the HTTP API as an error, and the exit code it means."""

from __future__ import annotations

from syntor.cli.output import ExitCode
from syntor.contracts.errors import SyntorError


class ProblemError(SyntorError):
    """The server refused a request.

    Attributes:
        status: HTTP status.
        code: stable code of the problem document.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code

    @property
    def exit_code(self) -> ExitCode:
        """Exit code of a command that ends with it."""
        if self.status in (400, 422):
            return ExitCode.USAGE
        return ExitCode.NOT_REACHABLE if self.status == 503 else ExitCode.RUN_FAILED
