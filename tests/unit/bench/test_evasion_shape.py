"""Evasion in shape: padding costs packets and time, a port changes only where the attacker may choose it."""

from __future__ import annotations

import numpy as np

from evasion_builder import BEACON_BYTES, attacked_network, beacon, habit, label, probe
from thingwarden.bench.evasion_rows import attack_mask, class_mask
from thingwarden.bench.evasion_shape import (
    SEGMENT_BYTES,
    hop_ports,
    pad,
    reach_payload,
    reach_port,
    reach_source,
    shape_sources,
)
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import AttackClass

C2 = (AttackClass.C2,)


def _rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_padding_grows_both_ways_where_both_ends_are_the_attackers() -> None:
    flows = attacked_network(beacons=300)
    padded = pad(flows, reach_payload(flows), 64.0, _rng()).flows
    rows = class_mask(flows, C2)
    for end in ("orig", "resp"):
        payload = getattr(padded, f"{end}_bytes")[rows]
        assert payload.min() >= BEACON_BYTES and payload.max() <= 64 * BEACON_BYTES
        growth = np.log(payload / BEACON_BYTES)
        assert abs(growth.mean() - np.log(64.0) / 2) < 0.2, "log-uniform"
    added = padded.orig_bytes - flows.orig_bytes
    more = padded.orig_packets - flows.orig_packets
    assert (more[rows] * SEGMENT_BYTES >= added[rows]).all()
    assert (padded.orig_ip_bytes - flows.orig_ip_bytes == added + 40 * more).all()
    assert (padded.duration_s[rows & (added > 0)] > 0.5).all()


def test_a_victim_answers_as_before_and_a_syn_carries_nothing() -> None:
    guesses = label([beacon(float(at_s)) for at_s in range(20)], AttackClass.BRUTE_FORCE, "brute_force:guess-1")
    flows = FlowBatch.concatenate([guesses, label([probe(1.0, "45.0.0.1")], AttackClass.SCAN, "scan:scan-2")])
    assert reach_payload(flows).tolist() == [True] * 20 + [False]
    padded = pad(flows, reach_payload(flows), 64.0, _rng()).flows
    assert (padded.resp_bytes == flows.resp_bytes).all()
    assert (padded.orig_bytes[:20] >= flows.orig_bytes[:20]).all() and padded.orig_bytes[:20].sum() > 20 * BEACON_BYTES
    assert padded.orig_packets[20] == flows.orig_packets[20]


def test_unknown_counts_stay_unknown_and_a_second_packet_gives_a_duration() -> None:
    specs = [beacon(1.0, proto="udp", orig_bytes=100, duration_s=float("nan"), conn_state="S0", resp_bytes=0)]
    flows = label(specs, AttackClass.DDOS, "ddos:flood-1")
    flows.resp_packets[:] = -1
    padded = pad(flows, reach_payload(flows), 64.0, _rng()).flows
    assert padded.resp_packets[0] == -1 and padded.orig_packets[0] > 1 and padded.duration_s[0] > 0.0


def test_a_flow_is_not_padded_beyond_the_line() -> None:
    flows = label([beacon(1.0, orig_bytes=100_000_000, duration_s=10.0)], AttackClass.EXFILTRATION, "exfiltration:a-1")
    padded = pad(flows, reach_payload(flows), 64.0, _rng()).flows
    assert padded.orig_bytes[0] / padded.duration_s[0] <= 12.5e6 + flows.orig_bytes[0] / 10.0


def test_ports_are_drawn_from_so_many() -> None:
    flows = attacked_network(beacons=200)
    for count in (1, 8):
        ports = hop_ports(flows, reach_port(flows), float(count), _rng()).flows.resp_port[class_mask(flows, C2)]
        assert len(np.unique(ports)) == count and ports.min() >= 1024


def test_only_own_servers_and_floods_hop() -> None:
    flood = label([probe(1.0, "45.0.0.1")], AttackClass.DDOS, "ddos:flood-1")
    answered_flood = label([beacon(1.0)], AttackClass.DOS, "dos:flood-2")
    scan = label([probe(1.0, "45.0.0.1")], AttackClass.SCAN, "scan:scan-3")
    guess = label([beacon(1.0)], AttackClass.BRUTE_FORCE, "brute_force:guess-4")
    resolved = label([beacon(1.0, resp_port=53, proto="udp")], AttackClass.C2, "c2:a-5")
    controller = label([beacon(1.0)], AttackClass.C2, "c2:a-5")
    flows = FlowBatch.concatenate([flood, answered_flood, scan, guess, resolved, controller, label([habit(1.0)])])
    assert reach_port(flows).tolist() == [True, False, False, False, False, True, False]


def test_source_ports_are_those_of_linux_then_the_hosts_own_then_one() -> None:
    habits = label([habit(float(at_s), orig_port=2000 + at_s) for at_s in range(5)])
    attack = label([beacon(float(at_s), orig_port=6667) for at_s in range(50)], AttackClass.C2, "c2:a-1")
    stranger = label([beacon(1.0, "45.0.0.9")], AttackClass.SCAN, "scan:b-2")
    flows = FlowBatch.concatenate([habits, attack, stranger])
    linux, own, one = (shape_sources(flows, reach_source(flows), float(step), _rng()).flows for step in (1, 2, 3))
    assert ((linux.orig_port[5:] >= 32_768) & (linux.orig_port[5:] < 61_000)).all()
    assert set(own.orig_port[5:55].tolist()) <= set(range(2000, 2005))
    assert own.orig_port[55] >= 32_768, "a stranger has no habits here"
    assert (one.orig_port[5:] == 53).all()


def test_icmp_has_no_source_port() -> None:
    flows = label([beacon(1.0, proto="icmp")], AttackClass.SCAN, "scan:ping-1")
    assert attack_mask(flows).all() and not reach_source(flows).any() and not reach_port(flows).any()
