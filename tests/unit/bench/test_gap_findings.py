"""The two comparisons: equal worlds look equal, a world that differs is named, and too few runs are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from thingwarden.bench.gap_findings import compare_public, compare_worlds
from thingwarden.bench.gap_runs import Plan
from thingwarden.bench.gap_words import RunFlows
from thingwarden.domain.errors import RequestError
from thingwarden.domain.flow import FlowBatch, Labels
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.testing import FlowSpec, build_flows

PLAN = Plan(scenarios=("home", "siege"), seeds=(1, 2, 3), duration_s=60.0)
KINDS = {"192.168.1.10": "plug"}


def _run(number: int, *, is_slow: bool = False, has_attack: bool = False) -> RunFlows:
    random = np.random.default_rng(number)
    lasts = random.uniform(1.0, 9.0, 80) + (300.0 if is_slow else 0.0)
    specs = [FlowSpec(at_s=10.0 * at, duration_s=float(span)) for at, span in enumerate(lasts)]
    if has_attack:
        specs += [FlowSpec(at_s=5.0 * at, resp_port=23, conn_state="S0") for at in range(40)]
    return RunFlows(run=number, flows=_labelled(build_flows(specs)), kinds=KINDS)


def _labelled(flows: FlowBatch) -> FlowBatch:
    is_bad = flows.resp_port == 23
    labels = Labels(
        malicious=is_bad.astype(np.int8),
        attack_class=np.where(is_bad, CLASS_INDEX[AttackClass.SCAN], 0).astype(np.int8),
        ton_class=np.full(len(flows), -1, dtype=np.int8),
        detail=np.where(is_bad, b"scan:scan_slow-1", b"benign").astype("S48"),
    )
    return replace(flows, labels=labels)


def _world(*, is_slow: bool = False) -> list[RunFlows]:
    return [_run(number, is_slow=is_slow, has_attack=name == "siege") for number, name, _ in PLAN.numbered]


def test_worlds_are_compared_whole_by_label_and_by_scenario() -> None:
    findings = compare_worlds(PLAN, _world(), _world())
    assert list(findings.gaps) == ["all", "benign", "malicious", "home", "siege"]
    assert all(gap is not None and abs(gap.auc - 0.5) < 0.1 for gap in findings.gaps.values())
    malicious = findings.gaps["malicious"]
    assert malicious is not None
    assert malicious.words == (3 * 40 * 2, 3 * 40 * 2)


def test_what_a_world_gets_wrong_is_named() -> None:
    findings = compare_worlds(PLAN, _world(is_slow=True), _world())
    whole = findings.gaps["all"]
    assert whole is not None
    assert whole.auc > 0.6
    assert ("plug", "duration") in {(offence.subject, offence.field) for offence in findings.offences[:12]}


def test_public_devices_and_networks_share_no_fold_and_no_subject() -> None:
    lab = [_run(number) for number in range(3)]
    public = [_run(number, is_slow=True) for number in range(3)]
    findings = compare_public(lab, public)
    gap = findings.gaps["all"]
    assert gap is not None
    assert gap.runs == (3, 3)
    assert {offence.subject for offence in findings.offences} == {"any device"}
    assert "duration" in {item.field for item in findings.uncovered}


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_runs_are_refused(count: int) -> None:
    with pytest.raises(RequestError, match="fewer than two"):
        compare_worlds(PLAN, _world()[:count], _world())
    with pytest.raises(RequestError, match="fewer than two"):
        compare_public(_world(), _world()[:count])
