"""A trial's settings, its resumption, and one for real in the lab: attack, act, and what both ends saw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thingwarden.bench.response import DEFENCES, TRIAL_FILE, Trial, run_trial, trial_folder, write_settings
from thingwarden.bench.response_measure import measure_trial
from thingwarden.config import chosen_playbook, load_settings, policy_settings
from thingwarden.domain.response import Act

RECIPE = """name = "one-scan"
about = "A television scans a camera."
duration_s = 30.0
seed = 1
condition = "wired"
exclude_from_training = true
devices = [
  { name = "camera", kind = "camera", host = 21 },
  { name = "television", kind = "tv", host = 51 },
]

[[events]]
kind = "scan_vertical"
by = ["television"]
on = ["camera"]
begins_ratio = [0.2, 0.25]
lasts_ratio = 0.6
settings = { top_ports = 300, probes_per_s = 30.0 }
"""


@pytest.mark.parametrize("defence", [item for item in DEFENCES if item != "none"])
def test_the_settings_of_every_defence_are_sound(defence: str, tmp_path: Path) -> None:
    settings = load_settings(write_settings(tmp_path, defence), {}).settings
    isolates = any(rule.act is Act.ISOLATE and rule.attack_class is None for rule in
                   chosen_playbook(settings.policy).rules)  # fmt: skip
    assert isolates is (defence == "isolate everything")
    limit = policy_settings(settings).automatic_up_to
    assert limit is (Act.ISOLATE if defence == "isolate everything" else Act.QUARANTINE)
    assert settings.policy.proposer.value == ("planner" if defence == "planner" else "playbook")


def test_a_trial_that_was_run_is_not_run_again(tmp_path: Path) -> None:
    trial = Trial(scenario=tmp_path / "none.toml", seed=3, duration_s=10.0, defence="none")
    folder = trial_folder(tmp_path, trial)
    folder.mkdir()
    told = {"scenario": "none", "seed": 3, "duration_s": 10.0, "defence": "none"}
    (folder / TRIAL_FILE).write_text(json.dumps(told))
    assert run_trial(trial, folder) == folder


@pytest.mark.root
def test_an_attack_is_cut_and_the_rest_goes_on(tmp_path: Path) -> None:
    recipe = tmp_path / "one-scan.toml"
    recipe.write_text(RECIPE)
    trial = Trial(scenario=recipe, seed=1, duration_s=30.0, defence="playbook")
    attacks, devices = measure_trial(run_trial(trial, trial_folder(tmp_path, trial)))
    (scan,) = attacks
    assert scan.answered_s is not None and scan.answered_s < 15.0
    assert scan.sent_after_count > 50
    assert scan.passed_after_count < 0.2 * scan.sent_after_count
    camera = next(device for device in devices if device.device == "camera")
    assert not camera.is_restricted
    assert camera.arrived_count == camera.sent_count > 0
