"""Made traffic has the rates that it promises, and milestones only where a flow was still open."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.bench.live_traffic import SCENARIOS, Scenario, make_traffic


def _busiest_ratio(scenario: Scenario) -> float:
    low = make_traffic(scenario, 5000).orig_address[:, 1]
    return float(np.unique(low, return_counts=True)[1].max() / len(low))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_one_device_speaks_as_much_as_the_scenario_says(scenario: Scenario) -> None:
    zipf = 1.0 / sum(1.0 / rank for rank in range(1, 201))
    assert _busiest_ratio(scenario) == pytest.approx(scenario.loud_ratio or zipf, rel=0.1)


def test_a_scan_reaches_many_and_nobody_answers() -> None:
    flows = make_traffic(SCENARIOS[-1], 2000)
    scans = flows.orig_address[:, 1] == flows.orig_address[:, 1].min()
    assert len(np.unique(flows.resp_address[scans, 1])) > 0.9 * scans.sum()
    assert flows.resp_packets[scans].sum() == 0


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_milestones_lie_within_their_flow_and_never_go_back(scenario: Scenario) -> None:
    flows = make_traffic(scenario, 2000)
    noted = flows.milestones
    assert noted is not None and len(noted) > 50
    assert (noted.elapsed_s < flows.duration_s[noted.flow]).all()
    assert (noted.orig_bytes <= flows.orig_bytes[noted.flow]).all()
    same = np.diff(noted.flow) == 0
    assert (np.diff(noted.elapsed_s)[same] >= 0).all() and (np.diff(noted.orig_packets)[same] >= 0).all()


def test_a_seed_gives_the_same_flows_and_another_number_other_devices() -> None:
    one, again, others = (make_traffic(SCENARIOS[0], 300, first_host=first) for first in (0, 0, 1000))
    assert (one.started_at_s == again.started_at_s).all() and (one.resp_address == again.resp_address).all()
    assert not set(one.orig_address[:, 1].tolist()) & set(others.orig_address[:, 1].tolist())
