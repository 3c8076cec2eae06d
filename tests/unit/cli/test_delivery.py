"""What a person decided is kept until the server has stored it, and never reported as done before."""

from __future__ import annotations

import threading

import pytest

from syntor.cli import delivery
from syntor.cli.delivery import Cancellation, deliver
from syntor.cli.problem import ProblemError
from syntor.contracts.errors import NotReachableError, SyntorError

WAIT_S = 10.0
FULL = ProblemError(503, "storage_full", "the log is full")
GONE = NotReachableError("not reachable")
UNKNOWN = ProblemError(404, "not_found", "no run 'r1'")
ENDED = ProblemError(409, "conflict", "run 'r1' has already ended")
FORBIDDEN = ProblemError(403, "forbidden", "no scope run")


class Server:
    """Fails as told, request by request, then accepts; `open` lets it accept."""

    def __init__(self, *failures: SyntorError, closed: SyntorError | None = None) -> None:
        self.failures = list(failures)
        self.closed = closed
        self.open = threading.Event()
        self.requests = 0

    def __call__(self, run_id: str = "") -> str:
        """Answer one request."""
        self.requests += 1
        if self.failures:
            raise self.failures.pop(0)
        if self.closed is not None and not self.open.is_set():
            raise self.closed
        return run_id


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without the waits of a person's pace."""
    monkeypatch.setattr(delivery, "_RETRY_DELAYS_S", (0.001, 0.001, 0.001))
    monkeypatch.setattr(delivery, "NOTE_AFTER_S", 0.02)
    monkeypatch.delenv("SYNTOR_URL", raising=False)


@pytest.mark.parametrize("failures", [[], [FULL], [GONE, FULL, GONE, FULL]])
def test_a_request_is_sent_until_it_is_stored(failures: list[SyntorError]) -> None:
    server = Server(*failures)
    assert deliver(lambda: server("r1"), "not stored yet") == "r1"
    assert server.requests == len(failures) + 1


def test_a_long_wait_is_shown_and_ends_at_the_deadline(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ProblemError, match="the log is full"):
        deliver(Server(closed=FULL), "the message is not stored yet", deadline_s=0.1)
    note = capsys.readouterr().err
    assert note == "note: the message is not stored yet: the log is full; trying again for up to 0.1 s\n"


@pytest.mark.parametrize("refusal", [FORBIDDEN, UNKNOWN, ENDED])
def test_a_refused_request_is_not_repeated(refusal: ProblemError) -> None:
    server = Server(refusal)
    with pytest.raises(ProblemError):
        deliver(server, "x")
    assert server.requests == 1


def test_a_server_given_by_its_url_that_is_not_reachable_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTOR_URL", "http://example.org")
    server = Server(FULL, GONE)
    with pytest.raises(NotReachableError):
        deliver(server, "x")
    assert server.requests == 2


@pytest.mark.parametrize("closed", [FULL, GONE, ProblemError(503, "outcome_unknown", "?")])
def test_a_cancellation_is_pending_until_the_log_has_it(closed: SyntorError) -> None:
    server, changes = Server(closed=closed), threading.Event()
    wish = Cancellation(server, "r1", on_change=lambda _: changes.set())
    assert changes.wait(WAIT_S)
    assert wish.is_pending
    assert not wish.wait(0.01)
    assert wish.not_stopped() == f"not stopped ({closed}); run: syntor runs cancel r1"
    server.open.set()
    assert wish.wait(WAIT_S)
    assert wish.state == "requested"


@pytest.mark.parametrize(("answer", "state"), [(ENDED, "ended"), (FORBIDDEN, "refused"), (UNKNOWN, "refused")])
def test_a_refused_cancellation_is_settled(answer: ProblemError, state: str) -> None:
    server = Server(answer)
    wish = Cancellation(server, "r1")
    assert wish.wait(WAIT_S)
    assert (wish.state, server.requests) == (state, 1)


def test_a_run_that_may_still_be_stored_is_cancelled_once_it_is() -> None:
    server = Server(UNKNOWN, UNKNOWN)
    wish = Cancellation(server, "r1", may_be_late=True)
    assert wish.wait(WAIT_S)
    assert (wish.state, server.requests) == ("requested", 3)
