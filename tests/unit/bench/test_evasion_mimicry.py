"""Mimicry step by step: what each disguise takes from the habit, and what it leaves."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np
import pytest

from evasion_builder import (
    CAMERA,
    CLOUD,
    CONTROLLER,
    HABIT_BYTES,
    NEIGHBOUR,
    VICTIM,
    attacked_network,
    beacon,
    habit,
    label,
    mac_of,
)
from flow_builder import with_milestones
from thingwarden.bench.evasion_mimicry import Disguise, disguise, reach_disguise
from thingwarden.bench.evasion_rows import class_mask
from thingwarden.domain.flow import FlowBatch, words_from_address
from thingwarden.domain.taxonomy import AttackClass

C2 = (AttackClass.C2,)


def _words(text: str) -> tuple[int, int]:
    return words_from_address(ip_address(text))


def _dressed(flows: FlowBatch, step: Disguise, seed: int = 3) -> FlowBatch:
    evaded = disguise(flows, reach_disguise(flows), float(step), np.random.default_rng(seed))
    return evaded.flows.take(class_mask(flows, C2))


def _cloud_only() -> FlowBatch:
    habits = [habit(float(at_s), orig_bytes=HABIT_BYTES + at_s) for at_s in range(0, 100, 10)]
    attack = label([beacon(float(at_s)) for at_s in range(5, 100, 10)], AttackClass.C2, "c2:a-1")
    return FlowBatch.concatenate([label(habits), attack])


def test_sizes_come_first_and_belong_together() -> None:
    dressed = _dressed(_cloud_only(), Disguise.SIZES)
    assert (dressed.resp_bytes == 2 * HABIT_BYTES).all() and (dressed.duration_s == 2.0).all()
    assert len(np.unique(dressed.orig_bytes)) > 2, "not one flow again and again"
    assert (dressed.resp_port == 6667).all() and (dressed.service == b"irc").all()


def test_then_ports_and_service() -> None:
    dressed = _dressed(_cloud_only(), Disguise.PORTS)
    assert (dressed.resp_port == 443).all() and (dressed.service == b"ssl").all()
    assert (dressed.resp_address == _words(CONTROLLER)).all()


def test_a_habit_on_the_internet_needs_no_relay() -> None:
    dressed = _dressed(_cloud_only(), Disguise.PEER_KIND)
    assert (dressed.resp_address == _words(CONTROLLER)).all()


def test_a_habit_with_a_neighbour_is_imitated_through_another_one() -> None:
    habits = [habit(float(at_s), VICTIM, CAMERA, resp_port=1883) for at_s in range(5)]
    others = [habit(1.0, NEIGHBOUR), habit(1.0, CAMERA)]
    attack = label([beacon(float(at_s)) for at_s in range(5)], AttackClass.C2, "c2:a-1")
    flows = FlowBatch.concatenate([label(habits + others), attack])
    dressed = _dressed(flows, Disguise.PEER_KIND)
    assert (dressed.resp_address == _words(NEIGHBOUR)).all() and (dressed.resp_mac == mac_of(NEIGHBOUR)).all()
    without = flows.take(flows.orig_mac != mac_of(NEIGHBOUR))
    assert (_dressed(without, Disguise.PEER_KIND).resp_address == _words(CAMERA)).all(), "there is no other neighbour"


def test_last_the_very_peer() -> None:
    dressed = _dressed(_cloud_only(), Disguise.PEER)
    assert (dressed.resp_address == _words(CLOUD)).all() and (dressed.resp_port == 443).all()


def test_an_attack_takes_after_one_habit_only() -> None:
    for seed in range(6):
        assert len(np.unique(_dressed(attacked_network(), Disguise.PORTS, seed).resp_port)) == 1


@pytest.mark.parametrize(
    "lonely",
    [
        label([beacon(5.0, conn_state="S0", orig_bytes=0, resp_bytes=0)], AttackClass.C2, "c2:dead-1"),
        label([beacon(5.0, proto="udp")], AttackClass.C2, "c2:udp-1"),
        label([beacon(5.0, "45.0.0.9")], AttackClass.C2, "c2:stranger-1"),
        label([beacon(5.0)], AttackClass.BRUTE_FORCE, "brute_force:guess-1"),
    ],
    ids=["unanswered", "no habit over this protocol", "no host of this network", "not both ends its own"],
)
def test_who_cannot_be_disguised(lonely: FlowBatch) -> None:
    flows = FlowBatch.concatenate([label([habit(0.0)]), lonely])
    assert not reach_disguise(flows).any()


def test_a_habit_without_sizes_cannot_be_imitated() -> None:
    flows = _cloud_only()
    flows.orig_bytes[:10] = -1
    assert not reach_disguise(flows).any()


def test_an_open_flow_looks_like_the_habit_as_well() -> None:
    flows = with_milestones(_cloud_only())
    dressed = _dressed(flows, Disguise.SIZES)
    assert flows.milestones is not None and dressed.milestones is not None
    habits = flows.take(~class_mask(flows, C2))
    assert habits.milestones is not None and len(dressed.milestones)
    known = {tuple(row) for row in np.stack(_sums(habits), axis=1).tolist()}
    assert {tuple(row) for row in np.stack(_sums(dressed), axis=1).tolist()} <= known


def _sums(flows: FlowBatch) -> list[np.ndarray]:
    assert flows.milestones is not None
    return [flows.milestones.elapsed_s, flows.milestones.orig_bytes, flows.orig_bytes[flows.milestones.flow]]
