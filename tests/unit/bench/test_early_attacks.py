"""Attacks at rates over decades: settings that the acts accept, and that really give the rate."""

from __future__ import annotations

import random

import pytest

from thingwarden.bench.early_attacks import ATTACKS, EARLY_ACTS, Attack, settings_at, usual_attempts
from thingwarden.lab.behaviour.attacks.breadth import draw_settings
from thingwarden.lab.behaviour.catalogue import ACTS

BY_NAME = {attack.name: attack for attack in ATTACKS}


def settings_of(attack: Attack, rate_per_s: float, seed: int = 0) -> tuple[dict[str, object], int]:
    drawn = draw_settings(EARLY_ACTS[attack.act].settings, random.Random(seed))
    return settings_at(attack, rate_per_s, usual_attempts(attack, rate_per_s), drawn)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_every_act_accepts_its_settings_at_every_rate_whatever_the_seed_draws(attack: Attack) -> None:
    kind = EARLY_ACTS[attack.act]
    for rate_per_s in attack.rates_per_s:
        for seed in range(20):
            settings, programs = settings_of(attack, rate_per_s, seed)
            assert programs >= 1
            kind.settings.model_validate(settings)


def test_names_are_unique_and_rates_span_decades() -> None:
    assert len(BY_NAME) == len(ATTACKS)
    assert all(max(attack.rates_per_s) >= 100 * min(attack.rates_per_s) for attack in ATTACKS)
    assert {attack.ip_version for attack in ATTACKS} == {4, 6}


def test_a_fast_flood_is_sent_by_several_programs_and_loses_no_packet_by_that() -> None:
    settings, programs = settings_of(BY_NAME["flood-syn"], 10_000.0)
    assert programs == 5
    assert settings["packets_per_s"] == 2000.0
    assert settings["count"] == usual_attempts(BY_NAME["flood-syn"], 10_000.0) // 5


def test_one_flow_is_sent_by_one_program_however_fast() -> None:
    assert settings_of(BY_NAME["flood-one-flow"], 10_000.0)[1] == 1


def test_guessing_tries_one_password_per_connection_as_often_as_told() -> None:
    settings, programs = settings_of(BY_NAME["guess-ssh"], 20.0)
    assert settings["per_connection"] == 1 and settings["parallel"] == 1
    assert (programs, settings["pause_s"], settings["tries"]) == (20, 1.0, 2), "they take turns, 1/20 s apart"


def test_a_beacon_is_over_before_the_next_is_due() -> None:
    for seed in range(20):
        settings, _ = settings_of(BY_NAME["beacon-tcp"], 0.2, seed)
        assert settings["period_s"] == 5.0 and settings["is_kept"] is False and settings["night_h"] == 0.0
        assert settings["ending"] in ("close", "abort", "finish")
        dialogue_s = settings["turns"] * (1.5 * settings["gap_s"] + settings["think_ms"] / 1000)  # type: ignore[operator]
        assert dialogue_s < 1.0


def test_what_random_networks_draw_is_left_as_it_is() -> None:
    with pytest.raises(ValueError, match="less than or equal to 500"):
        ACTS["scan_horizontal"].settings.model_validate({"probes_per_s": 1000.0})
    assert EARLY_ACTS["scan_horizontal"].settings.model_validate({"probes_per_s": 1000.0}).lasts_s > 0
