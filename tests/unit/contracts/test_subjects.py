"""Every subject that is built can be parsed back; anything else is refused."""

import pytest

from syntor.contracts import subjects
from syntor.contracts.errors import InvalidInputError, MalformedMessageError
from syntor.contracts.events import CATALOGUE
from syntor.contracts.run.v1 import TaskAssigned


def test_every_event_subject_parses_back() -> None:
    for row in CATALOGUE.rows():
        if row.category == "timer":
            continue
        id_ = "r1.t1" if row.category in subjects.TASK_CATEGORIES else "r1"
        key = "git" if row.key else ""
        parsed = subjects.parse_event(subjects.event(row.category, id_, row.type, key))
        assert parsed == (row.category, id_, row.type, key)
        assert parsed.run_id == ("r1" if row.category in subjects.RUN_CATEGORIES else "")


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "syntor.events",
        "syntor.events.run.r1",
        "other.events.run.r1.run_done",
        "syntor.events.task.r1.llm_call_done",
        "syntor.events.run.r1.run_done.extra",
        "syntor.events.output.r1.t1.x.y",
    ],
)
def test_other_subjects_are_refused(subject: str) -> None:
    with pytest.raises(MalformedMessageError):
        subjects.parse_event(subject)


def test_timer_and_presence_subjects_parse_back() -> None:
    assert subjects.parse_timer_fired(subjects.timer_fired("r1", "task-t1")) == ("r1", "task-t1")
    assert subjects.parse_presence(subjects.presence("git", "i1")) == ("git", "i1")
    with pytest.raises(MalformedMessageError):
        subjects.parse_timer_fired(subjects.timer_schedule("r1", "task-t1"))
    with pytest.raises(MalformedMessageError):
        subjects.parse_presence("syntor.presence.agent.git")


def test_a_bad_token_names_field_and_value() -> None:
    with pytest.raises(InvalidInputError, match=r"session_id 'a\.b'") as caught:
        subjects.token("a.b", "session_id")
    assert caught.value.field == "session_id"
    assert subjects.token("ok-1", "session_id") == "ok-1"


@pytest.mark.parametrize("queue", ["", "a b", "a.b", "*", ">", "a\0b", "a\r\nPUB x 0", "\u0661"])
def test_a_key_that_is_no_token_makes_no_subject(queue: str) -> None:
    with pytest.raises(MalformedMessageError):
        subjects.of_event(TaskAssigned(task_id="t1", agent="worker", queue=queue), "r1")


@pytest.mark.parametrize("run_id", ["", "a b", "*", "a..b"])
def test_an_id_that_is_no_token_makes_no_subject(run_id: str) -> None:
    with pytest.raises(MalformedMessageError):
        subjects.of_event(TaskAssigned(task_id="t1", agent="worker", queue="worker"), run_id)
