"""Evasions are exact: harmless flows stay, strength 0 changes nothing, a seed decides all, and every flow can be."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_builder import network_flows
from thingwarden.bench.evasion import EVASIONS, UNCHANGED, Evasion, evade
from thingwarden.bench.evasion_rows import TCP, answered_mask, attack_mask
from thingwarden.domain.flow import COLUMN_DTYPES, MILESTONE_DTYPES, FlowBatch
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.train.pace import imagine_milestones

CASES = [
    pytest.param(evasion, strength, id=f"{evasion.name}-{strength:g}")
    for evasion in EVASIONS.values()
    for strength in evasion.strengths
]
LARGEST_PACKET_BYTES = 65_535


@cache
def network(seed: int) -> FlowBatch:
    """Three hosts with habits, one of which attacks; the attack is a controller's in every second network."""
    flows = network_flows(seed, attacked=True)
    assert flows.labels is not None
    if seed % 2:
        codes = flows.labels.attack_class
        codes[flows.labels.malicious == 1] = CLASS_INDEX[AttackClass.C2]
    return imagine_milestones(flows, np.random.default_rng(seed))


def assert_equal_flows(one: FlowBatch, other: FlowBatch) -> None:
    for name in COLUMN_DTYPES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.labels is not None and other.labels is not None
    np.testing.assert_array_equal(one.labels.malicious, other.labels.malicious)
    np.testing.assert_array_equal(one.labels.detail, other.labels.detail)
    assert one.milestones is not None and other.milestones is not None
    for name in MILESTONE_DTYPES:
        np.testing.assert_array_equal(getattr(one.milestones, name), getattr(other.milestones, name), err_msg=name)


def is_possible(flows: FlowBatch) -> npt.NDArray[np.bool_]:
    """Bytes travel in packets, time does not run backwards, who never spoke sent nothing, nothing shrinks."""
    possible = ~(flows.duration_s < 0.0)
    for end in ("orig", "resp"):
        payload, packets, ip = (getattr(flows, f"{end}_{what}") for what in ("bytes", "packets", "ip_bytes"))
        possible &= (packets < 0) | (payload <= packets * LARGEST_PACKET_BYTES)
        possible &= (ip < 0) | (packets < 0) | (ip >= payload + 20 * packets)
    never_spoke = (flows.proto == TCP) & ~answered_mask(flows)
    return np.asarray(possible & ~(never_spoke & (flows.resp_bytes > 0)) & ~_shrinks(flows))


def _shrinks(flows: FlowBatch) -> npt.NDArray[np.bool_]:
    """Flows that ended with less than they had while they were open."""
    noted = flows.milestones
    assert noted is not None
    whole = flows.take(noted.flow)
    more = noted.elapsed_s > np.nan_to_num(whole.duration_s) + 1e-6
    for name in ("orig_bytes", "resp_bytes", "orig_packets", "resp_packets"):
        more |= getattr(noted, name) > getattr(whole, name)
    return np.bincount(noted.flow[more], minlength=len(flows)) > 0


@pytest.mark.parametrize(("evasion", "strength"), CASES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 24))
def test_whatever_is_no_attack_stays_as_it_was(evasion: Evasion, strength: float, seed: int) -> None:
    flows = network(seed)
    evaded = evade(flows, evasion, strength, seed).flows
    assert evaded.labels is not None
    kept = np.flatnonzero(evaded.labels.malicious == 0)
    assert_equal_flows(evaded.take(kept), flows.take(~attack_mask(flows)))


@pytest.mark.parametrize(("evasion", "strength"), CASES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 24))
def test_a_possible_flow_stays_possible(evasion: Evasion, strength: float, seed: int) -> None:
    flows = network(seed)
    assert is_possible(flows).all()
    assert is_possible(evade(flows, evasion, strength, seed).flows).all()


@pytest.mark.parametrize(("evasion", "strength"), CASES)
def test_a_seed_decides_everything(evasion: Evasion, strength: float) -> None:
    one, other = (evade(network(1), evasion, strength, 5) for _ in range(2))
    assert_equal_flows(one.flows, other.flows)
    np.testing.assert_array_equal(one.reached, other.reached)


@pytest.mark.parametrize("evasion", EVASIONS.values(), ids=EVASIONS)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 24))
def test_strength_zero_is_identity(evasion: Evasion, seed: int) -> None:
    flows = network(seed)
    assert evade(flows, evasion, UNCHANGED, seed).flows is flows


@pytest.mark.parametrize(("evasion", "strength"), CASES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 24))
def test_only_what_is_reached_is_changed(evasion: Evasion, strength: float, seed: int) -> None:
    flows = network(seed)
    before, after = evasion.reach(flows), evade(flows, evasion, strength, seed)
    assert not (before & ~attack_mask(flows)).any()
    assert not (after.reached & ~attack_mask(after.flows)).any()
    assert len(after.reached) == len(after.flows)
    assert after.reached.sum() <= before.sum()
    assert_equal_flows(
        after.flows.take(attack_mask(after.flows) & ~after.reached), flows.take(attack_mask(flows) & ~before)
    )


@pytest.mark.parametrize("evasion", EVASIONS.values(), ids=EVASIONS)
def test_every_evasion_reaches_and_changes_something(evasion: Evasion) -> None:
    changed = 0
    for seed in range(1, 40, 2):
        flows = network(seed)
        evaded = evade(flows, evasion, evasion.strengths[-1], seed).flows
        changed += len(evaded) != len(flows) or any(
            not np.array_equal(getattr(evaded, name), getattr(flows, name), equal_nan=name == "duration_s")
            for name in COLUMN_DTYPES
        )
    assert changed >= 3
