"""Grafts: the host changes, the label does not, and benign and malicious segments are treated alike."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest

from flow_builder import random_flows, with_milestones
from lab_builder import network_flows
from part_builder import sketched_part
from thingwarden.domain.flow import COLUMN_DTYPES, CONN_STATE_CODE, FlowBatch, address_from_words
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.encode.sentence import local_ends
from thingwarden.testing import START_S, FlowSpec, build_flows
from thingwarden.train.corpus import Capture, Part, constant_labels, mask_labels
from thingwarden.train.graft import (
    INFRASTRUCTURE_PORTS,
    Life,
    add_outage,
    cut_segment,
    exchange_peers,
    fail_flows,
    find_life,
    find_recordings,
    graft,
    vary,
)
from thingwarden.train.sketch import sketch

HOST, OTHER, PEER = "192.168.1.10", "192.168.1.20", "203.0.113.5"


def _labelled(specs: list[FlowSpec], attack_class: AttackClass = AttackClass.BENIGN) -> FlowBatch:
    flows = build_flows(specs)
    return replace(flows, labels=constant_labels(len(flows), attack_class))


def _life(specs: list[FlowSpec], attack_class: AttackClass = AttackClass.BENIGN, owner: str = HOST) -> Life:
    flows = _labelled(specs, attack_class)
    address = build_flows([FlowSpec(orig=owner)]).orig_address[0]
    return Life(name="made", flows=flows, owner=address, mac=np.uint64(0x02))


def _part(flows: FlowBatch) -> Part:
    return Part(Capture(name="made", family="iot23", group="made", kind="attack", paths=()), flows)


def test_the_owner_of_a_life_is_whom_most_flows_of_that_label_concern() -> None:
    benign = _labelled([FlowSpec(at_s=step, orig=OTHER) for step in range(9)])
    scans = _labelled([FlowSpec(at_s=step, orig=HOST, resp_port=23) for step in range(5)], AttackClass.SCAN)
    part = _part(FlowBatch.concatenate([benign, scans]))
    attacker, victim = find_life(part, malicious=True), find_life(part, malicious=False)
    assert attacker is not None and victim is not None
    assert (attacker.owner == scans.orig_address[0]).all() and len(attacker) == 5
    assert (victim.owner == benign.orig_address[0]).all() and len(victim) == 9


def test_a_life_holds_flows_of_both_sides_and_its_mac() -> None:
    flows = _labelled([FlowSpec(orig=HOST, orig_mac=7), FlowSpec(at_s=1, orig=PEER, resp=HOST),
                       FlowSpec(at_s=2, orig=PEER, resp=OTHER)])  # fmt: skip
    life = find_life(_part(flows), malicious=False)
    assert life is not None and len(life) == 2 and life.mac == 7


def test_there_is_no_life_without_labels_or_without_that_label() -> None:
    flows = _labelled([FlowSpec()])
    assert find_life(_part(flows), malicious=True) is None
    assert find_life(_part(replace(flows, labels=None)), malicious=False) is None


def test_a_life_can_be_cut_by_position_and_by_label() -> None:
    life = _life([FlowSpec(at_s=step) for step in range(5)])
    assert life.window(3, 9).flows.started_at_s.tolist() == [START_S + 3, START_S + 4]
    masked = replace(life, flows=mask_labels(life.flows, np.arange(5) < 2))
    assert (len(masked.with_label(0)), len(masked.with_label(-1))) == (3, 2)


def test_segments_are_of_every_length_up_to_the_longest() -> None:
    life, rng = _life([FlowSpec(at_s=step) for step in range(30)]), np.random.default_rng(0)
    lengths = {len(cut_segment(life, rng, longest=8)) for _ in range(300)}
    assert lengths == set(range(1, 9))
    assert len(cut_segment(life.window(0, 1), rng, longest=8)) == 1


@pytest.mark.parametrize("attack_class", [AttackClass.BENIGN, AttackClass.SCAN])
def test_a_graft_belongs_to_the_new_host_on_both_sides_and_keeps_its_label(attack_class: AttackClass) -> None:
    base = _life([FlowSpec(at_s=step * 10.0) for step in range(4)])
    segment = _life([FlowSpec(orig=OTHER), FlowSpec(at_s=2.5, orig=PEER, resp=OTHER)], attack_class, owner=OTHER)
    grafted = graft(base, segment, START_S + 15.0)
    moved = grafted.take(np.arange(4, 6))
    assert grafted.started_at_s[4:].tolist() == [START_S + 15.0, START_S + 17.5]
    assert (moved.orig_address[0] == base.owner).all() and (moved.resp_address[1] == base.owner).all()
    assert (moved.orig_mac.tolist(), moved.resp_mac.tolist()) == ([2, 0], [0, 2])
    assert (moved.resp_address[0] == segment.flows.resp_address[0]).all()
    assert (local_ends(moved) == [[True, False], [False, True]]).all()
    assert moved.labels is not None and segment.flows.labels is not None
    assert moved.labels.attack_class.tolist() == segment.flows.labels.attack_class.tolist()
    for name in COLUMN_DTYPES:
        assert np.array_equal(getattr(grafted, name)[:4], getattr(base.flows, name), equal_nan=name.endswith("_s"))


def test_a_varied_segment_keeps_its_label_its_hosts_and_its_order() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        segment = cut_segment(sketch(rng, malicious=seed % 2 == 0), rng, longest=100)
        varied = vary(segment, rng)
        assert varied.flows.labels is not None and segment.flows.labels is not None
        assert (varied.flows.labels.attack_class == segment.flows.labels.attack_class).all()
        assert (varied.flows.orig_address == segment.flows.orig_address).all()
        assert varied.flows.started_at_s[0] == 0.0 and (np.diff(varied.flows.started_at_s) >= 0).all()
        assert (varied.flows.orig_bytes >= 0).all() and (varied.flows.orig_packets >= 0).all()


def test_ports_are_exchanged_consistently_and_infrastructure_keeps_its_own() -> None:
    specs = [FlowSpec(at_s=step, resp_port=port) for step, port in enumerate([53, 6667, 53, 6667, 23, 6667] * 5)]
    segment, changed = _life(specs), 0
    for seed in range(20):
        varied = vary(segment, np.random.default_rng(seed)).flows.resp_port
        for port in (53, 6667, 23):
            assert len(np.unique(varied[segment.flows.resp_port == port])) == 1
        assert 53 in INFRASTRUCTURE_PORTS and (varied[::6] == 53).all()
        changed += int(varied[1] != 6667)
    assert 0 < changed < 20


def test_nothing_that_changes_a_segment_looks_at_its_label() -> None:
    """One procedure for benign and malicious: what varies a segment never reads labels, and draws the same for both."""
    for changes in (vary, exchange_peers, graft, add_outage, fail_flows):
        assert "malicious" not in inspect.getsource(changes)
    specs = [FlowSpec(at_s=step, conn_state=("SF", "S0", "REJ")[step % 3]) for step in range(60)]
    for seed in range(20):
        benign, malicious = (
            vary(exchange_peers(_life(specs, label), rng), rng).flows
            for label, rng in zip((AttackClass.BENIGN, AttackClass.C2), _twins(seed), strict=True)
        )
        for name in COLUMN_DTYPES:
            assert np.array_equal(getattr(benign, name), getattr(malicious, name), equal_nan=name.endswith("_s"))


def _twins(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    return np.random.default_rng(seed), np.random.default_rng(seed)


def test_peers_outside_are_exchanged_and_hosts_stay() -> None:
    segment = _life([FlowSpec(), FlowSpec(resp=OTHER), FlowSpec(orig=PEER, resp=HOST), FlowSpec(resp="224.0.0.251")])
    moved = exchange_peers(segment, np.random.default_rng(3)).flows
    assert (moved.resp_address[0] == moved.orig_address[2]).all()
    assert (moved.resp_address[0] != segment.flows.resp_address[0]).any()
    assert (moved.resp_address[[1, 2, 3]] == segment.flows.resp_address[[1, 2, 3]]).all()
    assert (local_ends(moved) == local_ends(segment.flows)).all()


@pytest.mark.parametrize(
    ("state", "proto", "expected"), [("S0", "tcp", "S0"), ("REJ", "tcp", "REJ"), ("REJ", "udp", "S0")]
)
def test_a_failed_flow_looks_like_one(state: str, proto: str, expected: str) -> None:
    flows = build_flows([FlowSpec(proto=proto, service="http"), FlowSpec(proto=proto), FlowSpec(proto="icmp")])
    rows = np.array([True, False, True])
    failed = fail_flows(flows, rows, state, np.random.default_rng(0))
    assert failed.conn_state.tolist() == [CONN_STATE_CODE[expected], CONN_STATE_CODE["SF"], CONN_STATE_CODE["SF"]]
    assert failed.resp_bytes.tolist() == [0, 200, 200]
    assert failed.resp_packets[0] == (1 if expected == "REJ" else 0)
    assert failed.history[0] == {"S0": b"S" if proto == "tcp" else b"D", "REJ": b"Sr"}[expected]
    assert failed.orig_packets[0] > 0 and (proto == "udp" or failed.service[0] == b"")


def test_an_outage_silences_only_some_peers_for_a_while() -> None:
    flows = random_flows(1, 400)
    part = _part(replace(flows.take(np.argsort(flows.started_at_s)), labels=constant_labels(400, AttackClass.BENIGN)))
    life = find_life(part, malicious=False)
    assert life is not None
    silenced = 0
    for seed in range(10):
        dark = add_outage(life, np.random.default_rng(seed)).flows
        changed = (dark.conn_state != life.flows.conn_state) | (dark.resp_bytes != life.flows.resp_bytes)
        assert set(dark.conn_state[changed].tolist()) <= {CONN_STATE_CODE["S0"], CONN_STATE_CODE["REJ"]}
        assert np.array_equal(dark.started_at_s, life.flows.started_at_s)
        silenced += int(changed.sum())
    assert silenced > 0


def test_a_sketched_part_has_lives_of_both_labels() -> None:
    part = sketched_part("attack", 4)
    assert find_life(part, malicious=True) is not None and find_life(part, malicious=False) is not None


def test_neighbours_stay_neighbours_and_strangers_strangers() -> None:
    base = _life([FlowSpec(orig="10.9.8.7")], owner="10.9.8.7")
    segment = _life([FlowSpec(orig=HOST, resp=OTHER), FlowSpec(at_s=1, orig=HOST, resp=PEER)], AttackClass.SCAN)
    grafted = graft(base, segment, START_S + 5)
    peers = [str(address_from_words(*words)) for words in grafted.resp_address[1:].tolist()]
    assert peers == ["10.9.8.20", PEER]
    assert [str(address_from_words(*words)) for words in grafted.orig_address.tolist()] == ["10.9.8.7"] * 3


def _network() -> Part:
    """Three hosts with a MAC; whoever else of the LAN they speak to has none."""
    capture = Capture(name="net-00004", family="lab", group="n", kind="attack", paths=())
    return Part(capture, network_flows(4, attacked=True))


def test_every_host_of_a_network_has_a_recording_of_each_act_and_one_of_its_habits() -> None:
    part = _network()
    benign = [one for one in find_recordings(part, malicious=False, by_act=True) if one.mac]
    chores = [one for one in benign if one.name == "net-00004/firmware_update"]
    assert len(chores) == 1 and len(benign) == 4
    assert len({one.name for one in benign}) == 4 and len({int(one.mac) for one in benign}) == 3
    (attack,) = [one for one in find_recordings(part, malicious=True, by_act=True) if one.mac]
    assert attack.name == "net-00004/port_scan" and (attack.owner == chores[0].owner).all()
    assert part.flows.labels is not None and len(attack) == (part.flows.labels.malicious == 1).sum()


def test_a_recording_cuts_what_its_host_lived_through() -> None:
    whole = [one for one in find_recordings(_network(), malicious=False, by_act=False) if one.mac]
    assert len(whole) == 3
    for recording in whole:
        life = recording.window(2, 5)
        assert len(life) == 5 and life.flows.labels is not None and not life.flows.labels.malicious.any()
        ends = (life.flows.orig_address, life.flows.resp_address)
        assert np.any([(end == life.owner).all(axis=1) for end in ends], axis=0).all()
        assert 1 <= len(cut_segment(recording, np.random.default_rng(0), longest=9)) <= 9


def test_who_has_no_address_yet_has_no_recording() -> None:
    part = _part(_labelled([FlowSpec(orig="0.0.0.0", orig_mac=9, resp="255.255.255.255", proto="udp")]))
    assert find_recordings(part, malicious=False, by_act=False) == []


def _noted_life(count: int = 40) -> Life:
    flows = with_milestones(_labelled([FlowSpec(at_s=9.0 * step, duration_s=6.0) for step in range(count)]))
    return replace(_life([FlowSpec()]), flows=flows)


def test_milestones_move_with_the_flows_of_a_graft() -> None:
    base, segment = _noted_life(), _noted_life(12)
    grafted = graft(base, segment, START_S + 1000.0)
    noted, before = grafted.milestones, segment.flows.milestones
    assert noted is not None and before is not None and base.flows.milestones is not None
    moved = noted.at(noted.flow >= len(base))
    assert (moved.flow - len(base)).tolist() == before.flow.tolist()
    assert moved.elapsed_s.tolist() == before.elapsed_s.tolist()
    assert len(noted) == len(base.flows.milestones) + len(before)


def test_what_is_varied_keeps_its_milestones_in_proportion() -> None:
    segment = _noted_life()
    scaled = 0
    for seed in range(20):
        varied = vary(segment, np.random.default_rng(seed)).flows
        assert varied.milestones is not None and segment.flows.milestones is not None
        factor = varied.orig_bytes[0] / segment.flows.orig_bytes[0]
        so_far = segment.flows.milestones.orig_bytes
        expected = np.where(so_far > 0, np.maximum(so_far * factor, 1), so_far)
        np.testing.assert_allclose(varied.milestones.orig_bytes, expected, atol=1 + so_far.max() / 10)
        scaled += factor != 1.0
    assert 2 < scaled < 20


def test_a_contact_that_fails_reaches_no_milestone() -> None:
    flows, rows = _noted_life().flows, np.arange(40) % 2 == 0
    failed = fail_flows(flows, rows, "S0", np.random.default_rng(0)).milestones
    assert failed is not None and flows.milestones is not None
    assert set(failed.flow) == set(flows.milestones.flow[flows.milestones.flow % 2 == 1])
