"""Thinning: within the limit, spread evenly, at the attack, and never of what was recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lab_builder import network_entry, network_flows
from thingwarden.domain.flow import FlowBatch
from thingwarden.train.corpus import Capture, Part
from thingwarden.train.thinning import balance_lab, fit_vocabulary, thin_networks


def _network(number: int, *, attacked: bool = True, family: str = "lab") -> Part:
    name = network_entry(number, devices=3, attacked=attacked).name
    capture = Capture(name=name, family=family, group=name, kind="attack", paths=())  # type: ignore[arg-type]
    return Part(capture, network_flows(number, attacked=attacked))


@pytest.fixture(scope="module")
def networks() -> list[Part]:
    return [_network(number) for number in range(6)]


@pytest.mark.parametrize("most_flows", [0, 19, 20, 50, 100, 10_000])
def test_no_more_flows_than_allowed(networks: list[Part], most_flows: int) -> None:
    thinned = thin_networks(networks, most_flows, 20)
    assert sum(len(part.flows) for part in thinned) <= most_flows
    assert len(thinned) == min(len(networks), most_flows // 20)
    assert len({part.capture.name for part in thinned}) == len(thinned)


def test_a_stretch_reaches_the_attack(networks: list[Part]) -> None:
    for part in thin_networks(networks, 10_000, 30):
        assert part.flows.labels is not None and (part.flows.labels.malicious == 1).any()
        assert (np.diff(part.flows.started_at_s) >= 0).all()


def test_without_an_attack_it_is_the_beginning() -> None:
    part = _network(1, attacked=False)
    (thinned,) = thin_networks([part], 20, 20)
    np.testing.assert_array_equal(thinned.flows.started_at_s, part.flows.started_at_s[:20])


def test_what_was_recorded_stays_whole_and_the_rest_is_no_more_than_that(networks: list[Part]) -> None:
    recorded = _network(9, family="iot23")
    balanced = balance_lab([*networks, recorded], 20)
    assert balanced[0] is recorded
    assert 0 < sum(len(part.flows) for part in balanced[1:]) <= len(recorded.flows)


def test_simulated_tokens_cannot_crowd_out_recorded_ones(networks: list[Part]) -> None:
    recorded = _network(9, family="iot23")
    alone, together = (fit_vocabulary([recorded, *more], FlowBatch.empty()) for more in ([], networks))
    assert set(alone.histories) <= set(together.histories)
    flows = replace(networks[0].flows, history=np.full(len(networks[0].flows), b"ShADadFf", dtype="S24"))
    assert fit_vocabulary([Part(networks[0].capture, flows), recorded], FlowBatch.empty()).histories
