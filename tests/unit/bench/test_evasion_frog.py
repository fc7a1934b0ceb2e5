"""Attacks that grow: how fast, for how long, on whose days, and visits that look like habits."""

from __future__ import annotations

import numpy as np
import pytest

from evasion_builder import attacked_network, calls_attacks, habit, label
from thingwarden.bench.evasion_frog import (
    AT_ONCE,
    FULL_CONTACTS,
    FULL_PACE_PER_H,
    GROWTHS_PER_H,
    HISTORY_H,
    HOUR_S,
    KINDS,
    WARM_UP_INTERVAL_S,
    Cast,
    cast_frogs,
    grow_attack,
    ramp_s,
    warm_up,
)
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import AttackClass


def _quiet() -> FlowBatch:
    return label([habit(at_s, "192.168.7.20") for at_s in np.arange(0.0, 7200.0, 240.0).tolist()])


@pytest.fixture
def networks() -> list[tuple[str, FlowBatch]]:
    return [("net-1", attacked_network(probes=40)), ("net-2", _quiet())]


def _cast(networks: list[tuple[str, FlowBatch]], kind: AttackClass = AttackClass.C2) -> Cast:
    (cast,) = cast_frogs(networks, kind, 8, 1)
    return cast


@pytest.mark.parametrize("growth", [growth for growth in GROWTHS_PER_H if growth != AT_ONCE])
def test_the_pace_rises_by_its_factor_every_hour(growth: float) -> None:
    hours = ramp_s(growth) / HOUR_S
    assert hours[0] == 0.0 and (np.diff(hours) > 0).all()
    assert growth ** hours[-1] == pytest.approx(FULL_PACE_PER_H)
    middle = len(hours) // 2
    pace = 1.0 / np.diff(hours)[middle]
    assert pace == pytest.approx(growth ** hours[middle], rel=growth)
    assert 1.0 / np.diff(hours)[-2] == pytest.approx(FULL_PACE_PER_H, rel=0.7 * growth)


def test_at_once_there_is_no_ramp() -> None:
    assert ramp_s(AT_ONCE).tolist() == [0.0]


@pytest.mark.parametrize("growth", GROWTHS_PER_H)
def test_full_pace_begins_at_one_moment_and_lasts_as_long_whatever_the_growth(
    growth: float, networks: list[tuple[str, FlowBatch]]
) -> None:
    stream = grow_attack(_cast(networks), growth)
    at_s = np.sort(stream.flows.started_at_s[calls_attacks(stream.flows)])
    full_s = at_s[at_s >= stream.full_from_s - 1e-3]
    assert len(full_s) == FULL_CONTACTS and np.diff(full_s) == pytest.approx(HOUR_S / FULL_PACE_PER_H)
    began_s = stream.flows.started_at_s[~calls_attacks(stream.flows)].min()
    assert stream.full_from_s - began_s == pytest.approx(HISTORY_H * HOUR_S)
    assert at_s[0] >= began_s, "the host was there before"


def test_the_host_lives_on_to_the_end(networks: list[tuple[str, FlowBatch]]) -> None:
    stream = grow_attack(_cast(networks), 2.0)
    habits_s = np.sort(stream.flows.started_at_s[~calls_attacks(stream.flows)])
    assert np.diff(habits_s).max() < 600.0
    assert stream.full_from_s + HOUR_S - habits_s[-1] < 600.0


def test_host_and_attack_are_of_two_networks(networks: list[tuple[str, FlowBatch]]) -> None:
    cast = _cast(networks)
    assert cast.host.name.startswith("net-2") and cast.attack.name == "net-1/c2:c2_irc-1"
    stream = grow_attack(cast, AT_ONCE)
    attack = stream.flows.take(calls_attacks(stream.flows))
    assert (attack.orig_address == cast.host.owner).all() and (attack.orig_mac == cast.host.mac).all()
    assert cast_frogs(networks[:1], AttackClass.C2, 8, 1) == []
    assert cast_frogs(networks[1:], AttackClass.C2, 8, 1) == []


def test_no_more_pairs_than_asked_for_and_than_hosts_there_are() -> None:
    networks = [("net-0", attacked_network(probes=40)), *((f"net-{number}", _quiet()) for number in range(1, 6))]
    assert len(cast_frogs(networks, AttackClass.SCAN, 3, 1)) == 3
    assert len(cast_frogs(networks, AttackClass.SCAN, 9, 1)) == 5
    names = [[cast.host.name for cast in cast_frogs(networks, AttackClass.SCAN, 3, 1)] for _ in range(2)]
    assert names[0] == names[1]


def test_an_attack_too_short_to_grow_is_not_taken() -> None:
    short = attacked_network(beacons=KINDS[AttackClass.C2] - 1, probes=KINDS[AttackClass.SCAN])
    networks = [("net-1", short), ("net-2", _quiet())]
    assert cast_frogs(networks, AttackClass.C2, 8, 1) == []
    assert len(cast_frogs(networks, AttackClass.SCAN, 8, 1)) == 1


def test_a_search_goes_on_to_new_addresses_and_a_beacon_does_not(networks: list[tuple[str, FlowBatch]]) -> None:
    for kind, is_new in ((AttackClass.SCAN, True), (AttackClass.C2, False)):
        stream = grow_attack(_cast(networks, kind), 2.0)
        peers = stream.flows.resp_address[calls_attacks(stream.flows)]
        assert (len(np.unique(peers, axis=0)) == len(peers)) is is_new


def test_a_busy_host_is_thinned() -> None:
    busy = label([habit(float(at_s), "192.168.7.20") for at_s in range(0, 7200, 10)])
    cast = _cast([("net-1", attacked_network()), ("net-2", busy)])
    assert len(cast.host) / (HISTORY_H + 1.0) == pytest.approx(40.0, rel=0.1)


def test_visits_go_to_the_controller_and_look_like_habits(networks: list[tuple[str, FlowBatch]]) -> None:
    cast = _cast(networks)
    plain, visited = warm_up(cast, 0.0, 1), warm_up(cast, 6.0, 1)
    labels = visited.flows.labels
    assert labels is not None and len(visited.flows) == len(plain.flows) + 36
    visits = visited.flows.take(labels.malicious == -1)
    attack = visited.flows.take(labels.malicious == 1)
    assert (visits.resp_address == attack.resp_address[0]).all() and (visits.resp_port == 6667).all()
    assert (visits.service == b"ssl").all() and (visits.orig_address == cast.host.owner).all()
    assert visits.started_at_s.max() == pytest.approx(visited.full_from_s - WARM_UP_INTERVAL_S)
    assert np.diff(visits.started_at_s) == pytest.approx(WARM_UP_INTERVAL_S)


def test_a_host_that_nobody_answers_cannot_pay_visits() -> None:
    silent = label([habit(float(at_s), "192.168.7.20", conn_state="S0") for at_s in range(0, 7200, 240)])
    cast = _cast([("net-1", attacked_network()), ("net-2", silent)])
    assert len(warm_up(cast, 6.0, 1).flows) == len(warm_up(cast, 0.0, 1).flows)
