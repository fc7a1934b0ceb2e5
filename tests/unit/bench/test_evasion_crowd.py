"""Evasion in a crowd: decoys repeat the host's own habits and are never scored; a split attack stays one attack."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np
import pytest

from evasion_builder import CAMERA, NEIGHBOUR, VICTIM, attacked_network, beacon, habit, label, mac_of
from thingwarden.bench.evasion_crowd import LONE_GAP_S, dilute, reach_decoy, reach_split, split_hosts
from thingwarden.bench.evasion_rows import attack_mask, class_mask
from thingwarden.domain.flow import FlowBatch, words_from_address
from thingwarden.domain.taxonomy import AttackClass


def _rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize("count", [1, 16])
def test_each_attack_flow_gets_so_many_decoys(count: int) -> None:
    flows = attacked_network(beacons=12, probes=20)
    evaded = dilute(flows, reach_decoy(flows), float(count), _rng())
    decoys = evaded.flows.take(evaded.row < 0)
    assert len(decoys) == count * 32
    assert decoys.labels is not None and (decoys.labels.malicious == -1).all()
    assert not evaded.reached[evaded.row < 0].any()
    assert (decoys.orig_address == words_from_address(ip_address(VICTIM))).all()
    assert set(decoys.resp_port.tolist()) == {443, 1883}, "its own habits"


def test_decoys_lie_between_contacts() -> None:
    flows = FlowBatch.concatenate(
        [label([habit(0.0)]), label([beacon(100.0), beacon(200.0)], AttackClass.C2, "c2:a-1")]
    )
    evaded = dilute(flows, reach_decoy(flows), 50.0, _rng())
    at_s = np.sort(evaded.flows.started_at_s[evaded.row < 0]) - flows.started_at_s[0]
    assert (at_s[:50] < 200.0).all() and (at_s[:50] >= 100.0).all() and (at_s[50:] <= 300.0).all()
    alone = flows.take(np.arange(2))
    evaded = dilute(alone, reach_decoy(alone), 50.0, _rng())
    assert np.ptp(evaded.flows.started_at_s[evaded.row < 0]) <= LONE_GAP_S


def test_a_decoy_comes_from_a_client_port_of_its_own_unless_the_protocol_fixes_it() -> None:
    habits = label([habit(0.0), habit(1.0, orig_port=5353, resp_port=5353, proto="udp")])
    flows = FlowBatch.concatenate([habits, label([beacon(100.0)], AttackClass.C2, "c2:a-1")])
    evaded = dilute(flows, reach_decoy(flows), 40.0, _rng())
    decoys = evaded.flows.take(evaded.row < 0)
    assert (decoys.orig_port[decoys.resp_port == 5353] == 5353).all()
    assert len(np.unique(decoys.orig_port[decoys.resp_port == 443])) > 5


def test_a_stranger_has_nobody_to_hide_among() -> None:
    flows = FlowBatch.concatenate([attacked_network(), label([beacon(1.0, "45.0.0.9")], AttackClass.SCAN, "scan:b-9")])
    assert not reach_decoy(flows)[-1] and not reach_split(flows)[-1]
    assert reach_decoy(flows)[attack_mask(flows)][:-1].all()


def test_hosts_take_turns() -> None:
    flows = attacked_network(beacons=12, probes=21)
    split = split_hosts(flows, reach_split(flows), 3.0, _rng()).flows
    for attack_class, count in ((AttackClass.C2, 4), (AttackClass.SCAN, 7)):
        macs, counts = np.unique(split.orig_mac[class_mask(split, (attack_class,))], return_counts=True)
        assert set(macs.tolist()) == {mac_of(host) for host in (VICTIM, NEIGHBOUR, CAMERA)}
        assert (counts == count).all()
    by_mac = {mac_of(host): words_from_address(ip_address(host)) for host in (VICTIM, NEIGHBOUR, CAMERA)}
    moved = split.take(attack_mask(split))
    assert [tuple(address) for address in moved.orig_address.tolist()] == [
        by_mac[mac] for mac in moved.orig_mac.tolist()
    ]


def test_more_hosts_than_there_are_is_all_of_them() -> None:
    flows = attacked_network(beacons=12)
    split = split_hosts(flows, reach_split(flows), 8.0, _rng()).flows
    assert len(np.unique(split.orig_mac[attack_mask(split)])) == 3


def test_nobody_attacks_himself() -> None:
    lateral = label([beacon(float(at_s), resp=NEIGHBOUR) for at_s in range(9)], AttackClass.LATERAL, "lateral:a-1")
    flows = FlowBatch.concatenate([attacked_network(0, 0), lateral])
    split = split_hosts(flows, reach_split(flows), 3.0, _rng()).flows
    assert not (split.orig_address == split.resp_address).all(axis=1).any()


def test_a_host_without_neighbours_cannot_share() -> None:
    flows = FlowBatch.concatenate([label([habit(0.0)]), label([beacon(1.0)], AttackClass.C2, "c2:a-1")])
    assert reach_decoy(flows).any() and not reach_split(flows).any()
