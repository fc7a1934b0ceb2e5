"""The report adds up what was measured, leaves nothing out, and says what is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from thingwarden.bench.response import Trial
from thingwarden.bench.response_measure import AttackOutcome, DeviceOutcome
from thingwarden.bench.response_report import Outcome, summarise, write_report
from thingwarden.bench.response_restrained import Restrained

ATTACK = AttackOutcome(
    name="scan-1", attack_class="scan", device="camera", sent_count=200, answered_s=2.0, acts=("rate_limit",),
    sent_after_count=100, passed_after_count=2,
)  # fmt: skip
DEVICE = DeviceOutcome(
    device="camera", is_restricted=True, sent_count=50, arrived_count=48, sent_after_count=40, arrived_after_count=38
)
OTHER = replace(DEVICE, device="plug", is_restricted=False, arrived_count=49)
TRIAL = Trial(scenario=Path("attacks-scan.toml"), seed=11, duration_s=150.0, defence="playbook")
UNANSWERED = replace(ATTACK, name="scan-2", answered_s=None, acts=(), sent_after_count=0, passed_after_count=0)
OUTCOME = Outcome(trial=TRIAL, attacks=(ATTACK, UNANSWERED), devices=(DEVICE, OTHER))
NOBODY = replace(
    OUTCOME,
    trial=replace(TRIAL, defence="none"),
    attacks=(UNANSWERED,),
    devices=(replace(DEVICE, is_restricted=False), OTHER),
)
CAMERA = Restrained(
    device="camera-porch",
    duration_s=1800.0,
    dropped_count=7000,
    incidents=(),
    harder_acts=(),
    refused_acts=("isolate",),
)


def test_figures_are_of_packets_and_of_attacks() -> None:
    values = summarise([OUTCOME, NOBODY], "playbook")
    assert (values["attack_count"], values["answered_count"]) == (2, 1)
    assert values["cut_ratio"] == pytest.approx(0.98)
    assert (values["attacks_cut_count"], values["attacks_after_count"]) == (0, 1)
    assert values["harm_stopped_ratio"] == pytest.approx(98 / 400)
    assert values["kept_ratio"] == pytest.approx(38 / 40)
    assert values["devices_kept_count"] == 1
    cut_off = replace(OUTCOME, devices=(replace(DEVICE, arrived_after_count=0), OTHER))
    assert summarise([cut_off], "playbook")["devices_kept_count"] == 0
    assert (values["others_lost_count"], values["others_sent_count"]) == (1, 50)


def test_where_nobody_acts_there_are_no_shares() -> None:
    values = summarise([NOBODY], "none")
    assert (values["cut_ratio"], values["kept_ratio"], values["harm_stopped_ratio"]) == (None, None, 0.0)


def test_the_page_tells_every_attack_and_the_camera(tmp_path: Path) -> None:
    write_report([NOBODY, OUTCOME], CAMERA, tmp_path)
    page = (tmp_path / "response.md").read_text()
    assert "| malicious packets cut after the act | - | 98.0 % |" in page
    assert "| scan-2 | camera | scan | none | - | - | - |" in page
    assert "30 minutes" in page and "dropped 7,000" in page and "Refused: isolate." in page
    assert json.loads((tmp_path / "response.json").read_text())["restrained"]["dropped_count"] == 7000
    drawn = (tmp_path / "response.svg").read_bytes()
    write_report([NOBODY, OUTCOME], None, tmp_path)
    assert (tmp_path / "response.svg").read_bytes() == drawn
    assert "camera under" not in (tmp_path / "response.md").read_text()
