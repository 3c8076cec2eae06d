"""The same seed injects the same faults, and every kind has its turn."""

from __future__ import annotations

from syntor.faults import plan as plans
from syntor.faults import proxy
from syntor.faults.fault import DATABASE, MACHINE, MEMORY, STORE
from syntor.faults.plan import SERVICES, plan
from syntor.faults.repeats import SHORTEST_HANG_S


def test_the_same_seed_injects_the_same_faults() -> None:
    assert plan(5, 40) == plan(5, 40)
    assert plan(5, 40) != plan(6, 40)
    processes = plan(5, 200, [plans.PROCESS])
    assert {injection.action for injection in processes} == {"kill", "pause", "restart"}
    assert {injection.target for injection in processes} == set(SERVICES)


def test_every_kind_is_injected() -> None:
    found = plan(1, 2000)
    assert {*proxy.MODES, "kill", "pause", "restart", "full", "read-only", "jump", MEMORY} < {f.action for f in found}
    disks = {f"disk of {what}" for what in plans.DISK_OF}
    assert {*SERVICES, *disks, MACHINE, DATABASE, "connection", "log"} < {f.target for f in found}
    flips = [each for each in found if each.action == plans.FLIP]
    assert {each.target for each in flips} == {STORE}
    assert len({each.seed for each in flips}) == len(flips)
    assert not any(f.action == "read-only" for f in found if f.target == "disk of home")


def test_pauses_last_from_one_second_to_thirty_and_those_of_nats_less_than_its_clients_notice() -> None:
    pauses = [(each.target, each.pause_s) for each in plan(1, 3000) if each.action == "pause"]
    stalls = [seconds for target, seconds in pauses if target != "nats"]
    assert 1.0 <= min(stalls) < 1.5
    assert 25.0 < max(stalls) <= 30.0
    assert sum(seconds < SHORTEST_HANG_S for seconds in stalls) > len(stalls) / 2
    assert max(seconds for target, seconds in pauses if target == "nats") < 2.0
