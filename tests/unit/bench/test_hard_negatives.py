"""Hard negatives: all that the design names, each harmless, each in a network of its own."""

from __future__ import annotations

import pytest

from thingwarden.bench.hard_negatives import CONTROL, DAY_S, HARD_NEGATIVES, HardNegative, Situation, prepare
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.events import EVENTS
from thingwarden.lab.timeline import Cut, Perform, PowerOn

BY_NAME = {negative.name: negative for negative in HARD_NEGATIVES}
BEFALLS = [negative for negative in HARD_NEGATIVES if negative.event]


def test_every_harmless_event_of_the_lab_is_let_happen() -> None:
    assert {negative.event for negative in BEFALLS} == {name for name, kind in EVENTS.items() if kind.is_hard_negative}
    assert len(BY_NAME) == len(HARD_NEGATIVES)


@pytest.mark.parametrize("negative", BEFALLS, ids=lambda negative: negative.name)
def test_each_happens_without_any_attack_and_in_time(negative: HardNegative) -> None:
    for number in range(8):
        prepared = prepare(Situation(negative, number))
        planned = prepared.schedule.planned
        assert planned and 4 <= len(prepared.schedule.hosts) <= 7
        assert min(item.at_s for item in planned) >= prepared.begins_s >= 0.3 * DAY_S
        assert max(item.at_s for item in planned) <= DAY_S
        performed = [item.action for item in planned if isinstance(item.action, Perform)]
        assert all(act.attack_class is AttackClass.BENIGN for act in performed)


def test_networks_differ_and_are_drawn_the_same_again() -> None:
    seen = {
        prepare(Situation(negative, number)).schedule.hosts[0].mac for negative in HARD_NEGATIVES for number in range(3)
    }
    assert len(seen) == 3 * len(HARD_NEGATIVES)
    one, again = (prepare(Situation(BY_NAME["power cut"], 4)) for _ in range(2))
    assert one == again


def test_the_owner_scans_from_an_allowed_machine_and_nobody_else_is_allowed() -> None:
    prepared = prepare(Situation(BY_NAME["owner's nmap"], 0))
    (act,) = [item.action for item in prepared.schedule.planned if isinstance(item.action, Perform)]
    macs = {host.name: host.mac for host in prepared.schedule.hosts}
    assert prepared.allowed_macs == {macs[act.host]}
    assert not prepare(Situation(BY_NAME["backup"], 0)).allowed_macs


def test_a_new_device_is_absent_until_it_joins() -> None:
    prepared = prepare(Situation(BY_NAME["new device"], 0))
    (joining,) = [item.action.host for item in prepared.schedule.planned if isinstance(item.action, PowerOn)]
    assert [host.name for host in prepared.schedule.hosts if host.joins] == [joining]


def test_dead_clouds_stay_dead() -> None:
    for number in range(4):
        planned = prepare(Situation(BY_NAME["dead vendor clouds"], number)).schedule.planned
        cuts = [item.action for item in planned if isinstance(item.action, Cut)]
        assert cuts and all(cut.mode == "silent" for cut in cuts)
        assert max(item.at_s for item in planned) >= DAY_S - 2.0


def test_the_control_has_nothing_odd() -> None:
    assert not prepare(Situation(BY_NAME[CONTROL], 0)).schedule.planned
