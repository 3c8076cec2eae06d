"""A breaker opens after failures in a row, lets one call try after a time, and closes after enough that succeed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syntor.models.breaker import Breaker, BreakerPolicy, Permit, TokenBucket

POLICY = BreakerPolicy()


def call(breaker: Breaker, now: float) -> Permit:
    permit = breaker.admit(now)
    assert permit is not None
    return permit


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(POLICY)
    for _ in range(5):
        breaker.fail(call(breaker, now), "down", now)
    return breaker


def test_it_opens_after_five_failures_in_a_row() -> None:
    breaker = Breaker(POLICY)
    for _ in range(4):
        breaker.fail(call(breaker, 0), "down", 0)
    breaker.succeed(call(breaker, 0))
    for number in range(5):
        assert breaker.state == "closed", number
        breaker.fail(call(breaker, 0), "down", 0)
    assert (breaker.state, breaker.reason, breaker.wait_s(10)) == ("open", "down", 20)
    assert breaker.admit(29.9) is None


def test_one_call_at_a_time_tries_after_thirty_seconds_and_three_that_succeed_close_it() -> None:
    breaker = opened()
    for number in range(3):
        probe = call(breaker, 30 + number)
        assert breaker.state == "half_open"
        assert breaker.admit(30 + number) is None
        assert breaker.wait_s(30 + number) > 0
        breaker.succeed(probe)
    assert (breaker.state, breaker.reason) == ("closed", "")
    assert call(breaker, 33) != call(breaker, 33) or breaker.state == "closed"


def test_a_probe_that_fails_opens_it_again_for_the_whole_time() -> None:
    breaker = opened()
    breaker.succeed(call(breaker, 30))
    breaker.fail(call(breaker, 31), "still down", 31)
    assert (breaker.state, breaker.wait_s(31), breaker.reason) == ("open", 30, "still down")
    for number in range(2):
        breaker.succeed(call(breaker, 61 + number))
    assert breaker.state == "half_open"  # those before the failure do not count


def test_a_probe_that_is_cancelled_makes_room_for_another() -> None:
    breaker = opened()
    breaker.release(call(breaker, 30))
    assert breaker.state == "half_open"
    breaker.succeed(call(breaker, 30))


def test_calls_that_passed_before_it_opened_change_nothing_when_they_end() -> None:
    breaker = Breaker(POLICY)
    late = [call(breaker, 0) for _ in range(8)]
    for permit in late[:5]:
        breaker.fail(permit, "down", 0)
    breaker.fail(late[5], "down", 20)
    breaker.succeed(late[6])
    assert (breaker.state, breaker.wait_s(20)) == ("open", 10)
    probe = call(breaker, 30)
    breaker.release(late[7])
    assert breaker.admit(30) is None
    breaker.succeed(probe)


def test_it_is_opened_and_closed_by_hand() -> None:
    breaker = Breaker(POLICY)
    breaker.force_open("maintenance")
    assert breaker.admit(1e9) is None
    assert breaker.wait_s(1e9) == float("inf")
    breaker.reset()
    call(breaker, 0)
    again = opened()
    again.reset()
    assert again.state == "closed"


def test_without_a_number_of_failures_it_never_opens() -> None:
    breaker = Breaker(BreakerPolicy(failures=0))
    for _ in range(100):
        breaker.fail(call(breaker, 0), "down", 0)
    assert breaker.state == "closed"


@given(st.lists(st.tuples(st.sampled_from(["succeed", "fail", "release", "hold"]), st.floats(0, 40)), max_size=60))
def test_whatever_happens_at_most_one_probe_is_in_progress_and_it_can_close_again(
    steps: list[tuple[str, float]],
) -> None:
    breaker, now, held = Breaker(POLICY), 0.0, list[Permit]()
    for action, passed_s in steps:
        now += passed_s
        permit = breaker.admit(now)
        if permit is None:
            assert breaker.state != "closed"
        elif action == "hold":
            held.append(permit)
        elif action == "fail":
            breaker.fail(permit, "down", now)
        else:
            getattr(breaker, action)(permit)
    for permit in held:
        breaker.release(permit)
    for _ in range(3):
        breaker.succeed(call(breaker, now + 31))
    assert breaker.state == "closed"


def test_a_bucket_allows_its_rate_and_a_short_burst() -> None:
    bucket = TokenBucket(2.0)
    assert [bucket.take(10.0, 60.0) for _ in range(4)] == [0.0, 0.0, 0.5, 1.0]
    assert bucket.take(12.0, 60.0) == 0.0
    slow = TokenBucket(0.1)
    assert [slow.take(0.0, 15.0) for _ in range(3)] == [0.0, 10.0, 20.0]
    assert slow.take(5.0, 15.0) == 15.0  # the one that would have waited for too long took nothing
    assert TokenBucket(0.0).take(0.0, 0.0) == 0.0
