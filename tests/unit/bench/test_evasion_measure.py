"""Recall kept, attacks found and the price, against contestants whose answers are known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from evasion_builder import Outspoken, attacked_network, calls_attacks, calls_port
from thingwarden.bench.evasion import EVASIONS, UNCHANGED
from thingwarden.bench.evasion_measure import Network, Stage, pool_evaded, rows_blamed, summarise_evasion
from thingwarden.domain.device import Device
from thingwarden.domain.incident import Role
from thingwarden.testing import build_device

HOPPING, SLOWNESS, DILUTION = EVASIONS["port-hopping"], EVASIONS["slowness"], EVASIONS["dilution"]


def _networks(count: int = 3) -> list[Network]:
    return [Network(f"net-{number}", attacked_network(beacons=12 + number), 0.5) for number in range(count)]


def test_who_goes_by_the_port_loses_all_when_it_hops() -> None:
    stage = Stage(Outspoken(calls_port(6667)), _networks())
    before, after = (pool_evaded(stage.measure(HOPPING, strength, 1)) for strength in (UNCHANGED, 1.0))
    assert before["recall"] == 1.0 and before["kept"] == 1.0 and before["found_with_role"] == 1.0
    assert after["recall"] == 0.0 and after["kept"] == 0.0 and after["found_with_role"] == 0.0
    assert after["contacts"] == after["payload"] == after["flows"] == 1.0


def test_only_what_the_evasion_reaches_is_counted() -> None:
    (record, *_) = Stage(Outspoken(calls_attacks), _networks()).measure(HOPPING, 8.0, 1)
    assert set(record["classes"]) == {"c2"} and record["classes"]["c2"]["rows"] == 12
    assert [attack["class"] for attack in record["attacks"]] == ["c2"]


def test_a_flow_weighs_as_its_pattern_did_before() -> None:
    stage = Stage(Outspoken(calls_attacks), _networks(1))
    for strength in (UNCHANGED, 64.0):
        (record,) = stage.measure(EVASIONS["padding"], strength, 1)
        assert record["classes"]["c2"]["weight"] == pytest.approx(1.0), "one pattern, however it is padded"


def test_patience_is_paid_for_in_contacts_and_compared_with_the_same_flows() -> None:
    stage = Stage(
        Outspoken(lambda flows: flows.started_at_s < attacked_network().started_at_s[0] + 1000.0), _networks()
    )
    point = pool_evaded(stage.measure(SLOWNESS, 10.0, 1))
    assert point["contacts"] < 0.8 and point["flows"] < 1.0
    (record, *_) = stage.measure(SLOWNESS, 10.0, 1)
    counts = record["classes"]["scan"]
    assert counts["rows_said_before"] == counts["rows"], "they were said when they came early"
    assert counts["rows_said"] < counts["rows"] <= counts["rows_before"]


def test_decoys_cost_flows_and_are_never_scored() -> None:
    stage = Stage(Outspoken(lambda flows: np.ones(len(flows), dtype=bool)), _networks())
    before, after = (pool_evaded(stage.measure(DILUTION, strength, 1)) for strength in (UNCHANGED, 4.0))
    assert after["flows"] > 2.0 and after["contacts"] == 1.0
    assert after["recall"] == 1.0 and after["fpr"] == before["fpr"] == 1.0


def test_the_wrong_role_finds_but_not_with_role() -> None:
    stage = Stage(Outspoken(calls_attacks, role=Role.TARGET), _networks(1))
    point = pool_evaded(stage.measure(HOPPING, UNCHANGED, 1))
    assert point["found"] == 1.0 and point["found_with_role"] == 0.0


def test_another_hosts_incident_finds_nothing() -> None:
    stage = Stage(Outspoken(calls_attacks, device=build_device(2, "192.168.1.99", None)), _networks(1))
    assert pool_evaded(stage.measure(HOPPING, UNCHANGED, 1))["found"] == 0.0


def test_a_device_is_known_by_its_mac_as_well() -> None:
    flows = attacked_network()
    by_mac = Device(index=1, mac="02:00:00:00:00:0a", address=None)
    watched = Outspoken(calls_attacks, device=by_mac).watch(flows)
    right, wrong = rows_blamed(flows, watched.incidents[0], watched.verdicts.is_malicious)
    assert right.sum() == calls_attacks(flows).sum() and not wrong.any()


def test_a_silent_flow_counts_only_among_the_loudest() -> None:
    flows = attacked_network()
    watched = Outspoken(calls_port(6667)).watch(flows)
    right, _ = rows_blamed(flows, watched.incidents[0], np.zeros(len(flows), dtype=bool))
    assert right.sum() == 3
    later = replace(flows, started_at_s=flows.started_at_s + 1e6)
    right, wrong = rows_blamed(later, watched.incidents[0], watched.verdicts.is_malicious)
    assert not right.any() and not wrong.any(), "an incident speaks of its own time"


def test_networks_as_they_are_are_asked_about_once() -> None:
    contestant = Outspoken(calls_attacks)
    stage = Stage(contestant, _networks(2))
    for evasion in (HOPPING, SLOWNESS):
        stage.measure(evasion, UNCHANGED, 1)
    assert len(contestant.watched) == 2
    stage.measure(HOPPING, 8.0, 1)
    assert len(contestant.watched) == 4


def test_harmless_verdicts_are_the_budget() -> None:
    stage = Stage(Outspoken(calls_port(443)), _networks(2))
    point = pool_evaded(stage.measure(HOPPING, 1.0, 1))
    assert point["false"] == 2 and point["device_weeks"] == pytest.approx(1.0 / 7)
    assert 0.0 < point["fpr"] < 1.0 and 0.0 < point["fpr_by_row"] < 1.0
    assert point["recall"] == 0.0 and point["kept"] is None and point["kept_interval"] is None


def test_intervals_need_two_networks() -> None:
    one, two = (pool_evaded(Stage(Outspoken(calls_attacks), _networks(n)).measure(HOPPING, 1.0, 1)) for n in (1, 2))
    assert one["kept_interval"] is None and two["kept_interval"] == (1.0, 1.0)


def test_curves_are_by_class_and_ascend() -> None:
    stage = Stage(Outspoken(calls_port(6667)), _networks(2))
    by_strength = {strength: stage.measure(SLOWNESS, strength, 1) for strength in (3.0, UNCHANGED)}
    curves = json.loads(json.dumps(summarise_evasion(by_strength)))
    assert set(curves) == {"all", "c2", "scan"}
    assert [point["strength"] for point in curves["all"]] == [0.0, 3.0]
    assert curves["c2"][0]["recall"] == 1.0 and curves["scan"][0]["recall"] == 0.0


def test_a_network_without_attack_only_spends_budget() -> None:
    flows = attacked_network()
    quiet = Network("quiet", flows.take(~calls_attacks(flows)), 1.0)
    point = pool_evaded(Stage(Outspoken(calls_port(443)), [quiet]).measure(HOPPING, 8.0, 1))
    assert point["attacks"] == 0 and point["recall"] is None and point["false"] == 1
