"""Evasion in time: the beat goes, the pace and the order stay; patience costs contacts."""

from __future__ import annotations

import numpy as np
import pytest

from evasion_builder import attacked_network, beacon, label
from thingwarden.bench.evasion_rows import class_mask
from thingwarden.bench.evasion_timing import LEAST_BEATS, jitter, reach_beat, reach_pace, slow_down
from thingwarden.domain.taxonomy import AttackClass

C2 = (AttackClass.C2,)


def _starts(flows, classes=C2):  # type: ignore[no-untyped-def]
    return flows.started_at_s[class_mask(flows, classes)]


@pytest.mark.parametrize("sigma", [0.1, 1.0, 2.0])
def test_jitter_spoils_the_beat_and_keeps_beginning_end_and_order(sigma: float) -> None:
    flows = attacked_network(beacons=40)
    before, after = _starts(flows), _starts(jitter(flows, reach_beat(flows), sigma, np.random.default_rng(1)).flows)
    assert after[[0, -1]] == pytest.approx(before[[0, -1]])
    assert (np.diff(after) > 0).all()
    spread = np.std(np.log(np.diff(after)))
    assert spread == pytest.approx(sigma, rel=0.4)


def test_three_contacts_have_no_beat() -> None:
    flows = label([beacon(float(at_s)) for at_s in range(LEAST_BEATS - 1)], AttackClass.C2, "c2:a-1")
    assert not reach_beat(flows).any() and reach_pace(flows).all()
    alone = flows.take(np.arange(1))
    assert not reach_pace(alone).any()


def test_contacts_at_one_moment_stay_there() -> None:
    flows = label([beacon(5.0)] * 6, AttackClass.C2, "c2:a-1")
    after = jitter(flows, reach_beat(flows), 1.0, np.random.default_rng(1)).flows
    assert (after.started_at_s == flows.started_at_s).all()


def test_slowness_stretches_from_the_first_contact_on() -> None:
    flows = attacked_network(beacons=12, probes=20)
    slowed = slow_down(flows, reach_pace(flows), 3.0, np.random.default_rng(1)).flows
    before, after = _starts(flows), _starts(slowed)
    assert after - after[0] == pytest.approx(3.0 * (before - before[0])[: len(after)])
    assert _starts(slowed, (AttackClass.SCAN,))[1] - _starts(slowed, (AttackClass.SCAN,))[0] == pytest.approx(3.0)
    assert (slowed.duration_s[class_mask(slowed, C2)] == 0.5).all()


def test_what_would_begin_after_the_end_does_not_happen() -> None:
    flows = attacked_network(beacons=12, probes=20)
    evaded = slow_down(flows, reach_pace(flows), 1000.0, np.random.default_rng(1))
    assert len(_starts(evaded.flows)) == 1
    assert evaded.flows.started_at_s.max() == flows.started_at_s.max()
    assert len(evaded.reached) == len(evaded.row) == len(evaded.flows)
    assert (evaded.flows.orig_port == flows.orig_port[evaded.row]).all()
