"""Who can evade: attacks apart from habits, campaign by campaign, and hosts that really live on the LAN."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np
import pytest

from evasion_builder import CAMERA, NEIGHBOUR, VICTIM, attacked_network, beacon, habit, label, mac_of
from flow_builder import with_milestones
from thingwarden.bench.evasion_rows import (
    STEERED,
    Evaded,
    LanHosts,
    answered_mask,
    attack_mask,
    campaigns,
    class_mask,
    is_port_proto,
    note_anew,
)
from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import MILESTONE_DTYPES, FlowBatch, words_from_address
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.testing import FlowSpec, build_flows


def test_attacks_are_what_the_label_says() -> None:
    flows = attacked_network(beacons=5, probes=7)
    assert attack_mask(flows).sum() == 12
    assert class_mask(flows, STEERED).sum() == 5
    assert class_mask(flows, (AttackClass.SCAN, AttackClass.C2)).sum() == 12
    with pytest.raises(InputError):
        attack_mask(build_flows([FlowSpec()]))


def test_a_probe_is_not_answered_and_a_session_is() -> None:
    flows = attacked_network(beacons=5, probes=7)
    assert (~answered_mask(flows)).sum() == 7


def test_only_tcp_and_udp_have_ports() -> None:
    flows = build_flows([FlowSpec(proto="tcp"), FlowSpec(proto="udp"), FlowSpec(proto="icmp")])
    assert is_port_proto(flows).tolist() == [True, True, False]


def test_campaigns_are_in_time_order_and_apart_by_attack_and_host() -> None:
    attack = label([beacon(9.0), beacon(3.0, NEIGHBOUR), beacon(6.0), beacon(1.0, NEIGHBOUR)], AttackClass.C2, "c2:a-1")
    other = label([beacon(2.0)], AttackClass.C2, "c2:a-2")
    flows = FlowBatch.concatenate([attack, other])
    together = {tuple(rows.tolist()) for rows in campaigns(flows, attack_mask(flows), by_host=False)}
    assert together == {(3, 1, 2, 0), (4,)}
    apart = {tuple(rows.tolist()) for rows in campaigns(flows, attack_mask(flows), by_host=True)}
    assert apart == {(3, 1), (2, 0), (4,)}
    assert campaigns(flows, np.zeros(len(flows), dtype=bool), by_host=True) == []


def test_who_only_appears_in_an_attack_is_no_host_of_the_lan() -> None:
    spoofed = label([beacon(5.0, "192.168.1.99")], AttackClass.DDOS, "ddos:flood-1")
    flows = FlowBatch.concatenate([attacked_network(), spoofed])
    hosts = LanHosts.of(flows)
    known = {words_from_address(ip_address(name)) for name in (VICTIM, NEIGHBOUR, CAMERA)}
    assert {tuple(address) for address in hosts.address.tolist()} == known
    assert set(hosts.mac.tolist()) == {mac_of(name) for name in (VICTIM, NEIGHBOUR, CAMERA)}
    assert not hosts.begins(flows)[-1] and hosts.begins(flows)[:-1].all()


def test_a_neighbour_is_another_host_of_the_same_lan() -> None:
    flows = FlowBatch.concatenate([attacked_network(), label([habit(1.0, "10.9.9.9")])])
    hosts = LanHosts.of(flows)
    own = np.array(words_from_address(ip_address(VICTIM)), dtype=np.uint64)
    macs = set(hosts.mac[hosts.neighbours(own)].tolist())
    assert macs == {mac_of(NEIGHBOUR), mac_of(CAMERA)}


def test_in_place_every_row_is_itself() -> None:
    flows = attacked_network()
    evaded = Evaded.in_place(flows, attack_mask(flows))
    assert evaded.row.tolist() == list(range(len(flows)))


def test_milestones_are_imagined_only_where_packets_were_changed() -> None:
    flows = with_milestones(attacked_network())
    changed = attack_mask(flows)
    anew = note_anew(flows, changed, np.random.default_rng(1))
    assert flows.milestones is not None and anew.milestones is not None
    metered, kept = flows.milestones.at(~changed[flows.milestones.flow]), ~changed[anew.milestones.flow]
    for name in MILESTONE_DTYPES:
        np.testing.assert_array_equal(getattr(anew.milestones.at(kept), name), getattr(metered, name))
    total = flows.orig_packets + flows.resp_packets
    imagined = anew.milestones.at(~kept)
    assert len(imagined) and (imagined.orig_packets + imagined.resp_packets <= total[imagined.flow]).all()


def test_flows_without_milestones_or_changes_are_given_back() -> None:
    flows = attacked_network()
    assert note_anew(flows, attack_mask(flows), np.random.default_rng(1)) is flows
    noted = with_milestones(flows)
    assert note_anew(noted, np.zeros(len(noted), dtype=bool), np.random.default_rng(1)) is noted
