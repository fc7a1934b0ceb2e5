"""Imagined milestones: possible, like metered ones where that can be told, and blind to labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_builder import random_flows, with_milestones
from packet_builder import conversation, meter, udp
from part_builder import sketched_part
from thingwarden.domain.flow import MILESTONE_AGES_S, MILESTONE_PACKETS, MOST_MILESTONES, FlowBatch, Milestones
from thingwarden.train.pace import imagine_milestones


def _imagined(flows: FlowBatch, seed: int = 0) -> Milestones:
    milestones = imagine_milestones(flows, np.random.default_rng(seed)).milestones
    assert milestones is not None
    return milestones


def _busy_flows(seed: int) -> FlowBatch:
    flows = random_flows(seed, 200)
    rng = np.random.default_rng(seed)
    longer = rng.choice([1, 1, 30, 900], 200)
    return replace(flows, duration_s=flows.duration_s * longer, orig_packets=flows.orig_packets * longer,
                   resp_packets=flows.resp_packets * longer)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_more_happened_than_happens_and_nothing_is_taken_back(seed: int) -> None:
    flows = _busy_flows(seed)
    noted = _imagined(flows, seed)
    whole = flows.take(noted.flow)
    assert (noted.elapsed_s <= np.nan_to_num(whole.duration_s) * (1 + 1e-9)).all() and (noted.elapsed_s >= 0).all()
    for name in ("orig_packets", "resp_packets", "orig_bytes", "resp_bytes"):
        so_far, total = getattr(noted, name), getattr(whole, name)
        assert (so_far <= np.maximum(total, 0)).all()
        assert (so_far >= (-1 if name.endswith("bytes") else 0)).all()
    letters = np.char.str_len(whole.history)
    assert (noted.history_letters <= letters).all()
    assert np.bincount(noted.flow, minlength=1).max() <= MOST_MILESTONES
    same = np.diff(noted.flow) == 0
    for name in ("elapsed_s", "orig_packets", "resp_packets", "history_letters"):
        assert (np.diff(getattr(noted, name).astype(np.float64))[same] >= 0).all(), name


def test_every_milestone_that_a_flow_must_reach_is_there_and_no_other() -> None:
    flows = _busy_flows(3)
    noted = _imagined(flows)
    nth = noted.orig_packets + noted.resp_packets
    total = flows.orig_packets + flows.resp_packets
    for count in MILESTONE_PACKETS:
        assert set(np.flatnonzero(total >= count)) == set(noted.flow[nth == count])
    for age_s in MILESTONE_AGES_S:
        old = np.flatnonzero((np.nan_to_num(flows.duration_s) >= age_s) & (total >= 2))
        assert set(old) == set(noted.flow[noted.elapsed_s >= age_s * (1 - 1e-9)])
    assert len(noted) > 100


def test_a_connection_is_open_until_its_last_packet() -> None:
    metered = meter(conversation())
    assert metered.milestones is not None
    imagined = _imagined(replace(metered, milestones=None))
    for name in ("flow", "conn_state", "history_letters", "orig_packets", "resp_packets"):
        np.testing.assert_allclose(getattr(imagined, name), getattr(metered.milestones, name), atol=1)
    assert imagined.conn_state.tolist() == metered.milestones.conn_state.tolist()


def test_a_stream_of_datagrams_is_looked_at_where_a_meter_would() -> None:
    metered = meter([udp(0.02 * number, from_client=number % 2 == 0) for number in range(300)])
    imagined = _imagined(replace(metered, milestones=None))
    assert metered.milestones is not None
    assert imagined.conn_state.tolist() == metered.milestones.conn_state.tolist()
    np.testing.assert_allclose(imagined.orig_packets, metered.milestones.orig_packets, rtol=2.0)


def test_what_was_metered_stays_and_what_has_no_time_gets_none() -> None:
    flows = with_milestones(random_flows(1, 50))
    assert imagine_milestones(flows, np.random.default_rng(0)) is flows
    untimed = replace(random_flows(1, 50), is_timed=False)
    assert imagine_milestones(untimed, np.random.default_rng(0)) is untimed
    assert imagine_milestones(FlowBatch.empty(), np.random.default_rng(0)).milestones is None


@pytest.mark.parametrize("name", ["attack", "benign"])
def test_sketches_of_both_labels_have_some(name: str) -> None:
    assert len(_imagined(sketched_part(name, 4, count=12).flows)) > 10


def test_labels_are_not_looked_at() -> None:
    flows = sketched_part("attack", 4).flows
    assert flows.labels is not None
    blind, seeing = _imagined(replace(flows, labels=None)), _imagined(flows)
    np.testing.assert_array_equal(blind.elapsed_s, seeing.elapsed_s)
