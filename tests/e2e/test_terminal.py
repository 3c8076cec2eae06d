"""A person at the terminal: approvals, a queue, shell commands, and two terminals on one session."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from syntor.testing.local_stack import LocalStack
from syntor.testing.terminal import Terminal

HIDING = "touch hidden #\x1b[2K\x1b[1A\u202e"
LONG = "true\n" * 100 + "touch hidden"
SCRIPT = {
    "rules": [
        {"match": "hiding", "times": 1, "tool_calls": [{"name": "bash", "arguments": {"command": HIDING}}]},
        {"match": "long", "times": 1, "tool_calls": [{"name": "bash", "arguments": {"command": LONG}}]},
        {"match": "count", "times": 1, "tool_calls": [{"name": "bash", "arguments": {"command": "seq 1 30"}}]},
        {"match": "slow", "text": "alpha\n\nbeta gamma delta omega", "chunk_words": 1, "chunk_delay_s": 0.4},
        {"tool_result": ".", "text": "The tool has spoken."},
        {"text": "Answer to {input}."},
    ]
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack that answers by a script."""
    local = LocalStack(tmp_path_factory.mktemp("home"), script=yaml.safe_dump(SCRIPT))
    local.up("--durability", "fast")
    yield local
    local.down()


def _open(stack: LocalStack, folder: Path, *arguments: str) -> Terminal:
    return Terminal(
        [sys.executable, "-m", "syntor.cli.main", *arguments],
        folder,
        {"SYNTOR_HOME": str(stack.home), "SYNTOR_MODEL": ""},
    )


def _talk(stack: LocalStack, folder: Path) -> Terminal:
    terminal = _open(stack, folder)
    terminal.expect("coordination>")
    terminal.type("/worker\r")
    terminal.expect("now talking to worker")
    terminal.expect("worker>")
    return terminal


def _quit(terminal: Terminal) -> None:
    terminal.type("/quit\r")  # after the run in progress
    assert terminal.exit_code() == 0


def test_an_approval_hides_nothing_and_escape_rejects_it(stack: LocalStack, tmp_path: Path) -> None:
    terminal = _talk(stack, tmp_path)
    terminal.type("hiding\r")
    terminal.expect("touch hidden #<U+001B>[2K<U+001B>[1A<U+202E>")
    terminal.expect("[n] no (Esc)")
    terminal.expect("Allow?")
    terminal.type("\x1b")
    terminal.expect("not approved")
    terminal.expect("The tool has spoken.")
    assert not (tmp_path / "hidden").exists()
    terminal.expect("worker>")
    _quit(terminal)


def test_no_letter_approves_what_was_not_shown_whole(stack: LocalStack, tmp_path: Path) -> None:
    terminal = _talk(stack, tmp_path)
    terminal.type("long\r")
    terminal.expect("are not shown here")
    terminal.expect("touch hidden")
    terminal.expect("[v] view all")
    terminal.expect("Allow?")
    terminal.type("y\r")
    terminal.expect("not all of it was shown")
    assert not (tmp_path / "hidden").exists()
    terminal.type("yes\r")
    terminal.expect("The tool has spoken.")
    assert (tmp_path / "hidden").exists()
    terminal.expect("worker>")
    _quit(terminal)


def test_messages_queue_while_a_run_is_in_progress_and_the_other_terminal_follows(
    stack: LocalStack, tmp_path: Path
) -> None:
    terminal = _talk(stack, tmp_path)
    terminal.type("begin\r")
    terminal.expect("Answer to begin.")
    terminal.expect("worker>")
    other = _open(stack, tmp_path, "--continue")
    other.expect("Answer to begin.")
    other.expect("worker>")
    terminal.type("slow\r")
    terminal.expect("alpha")
    terminal.expect("writing")
    terminal.type("and then\r")
    terminal.expect("queued: and then")
    other.expect("> slow")
    for each in (terminal, other):
        each.expect("beta gamma delta omega")
        each.expect("Answer to and then.")
    terminal.expect("worker>")
    terminal.type("!echo out$((1+1))\r")
    terminal.expect("out2")
    terminal.expect("(/attach sends")
    terminal.expect("worker>")
    terminal.type("/attach\r")
    terminal.expect("goes with your next message")
    for each in (terminal, other):
        _quit(each)


def test_the_output_of_a_tool_is_folded(stack: LocalStack, tmp_path: Path) -> None:
    terminal = _talk(stack, tmp_path)
    terminal.type("/mode auto\r")
    terminal.expect("mode auto:")
    terminal.type("count\r")
    terminal.expect("bash(seq 1 30)")
    terminal.expect("26 more lines (Ctrl-O)")
    terminal.expect("The tool has spoken.")
    terminal.expect("worker>")
    _quit(terminal)
