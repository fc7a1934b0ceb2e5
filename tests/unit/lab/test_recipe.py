"""The same seed draws the same schedule; a recipe that is wrong is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingwarden.domain.errors import ConfigError
from thingwarden.lab.network import require_inside
from thingwarden.lab.recipe import draw_schedule, load_recipe

SAMPLE = Path(__file__).parents[3] / "recipes" / "sample.toml"


def test_the_same_seed_draws_the_same_schedule() -> None:
    recipe = load_recipe(SAMPLE)
    assert draw_schedule(recipe, seed=7, duration_s=300) == draw_schedule(recipe, seed=7, duration_s=300)
    assert draw_schedule(recipe, seed=7, duration_s=300) != draw_schedule(recipe, seed=8, duration_s=300)


@pytest.mark.parametrize("seed", range(20))
def test_attacks_leave_benign_life_first_and_end_in_time(seed: int) -> None:
    recipe = load_recipe(SAMPLE)
    schedule = draw_schedule(recipe, seed=seed, duration_s=recipe.duration_s)
    assert min(event.begins_s for event in schedule.attacks) >= 80
    assert max(event.begins_s + event.lasts_s for event in schedule.attacks) <= schedule.duration_s
    for event in schedule.attacks:
        for address in event.on:
            require_inside(address)


def test_moments_scale_with_the_duration() -> None:
    recipe = load_recipe(SAMPLE)
    long, short = (draw_schedule(recipe, seed=1, duration_s=duration_s) for duration_s in (400.0, 40.0))
    for one, other in zip(long.attacks, short.attacks, strict=True):
        assert one.begins_s == pytest.approx(10 * other.begins_s, abs=0.01)


def test_the_sample_may_not_be_trained_on() -> None:
    assert load_recipe(SAMPLE).exclude_from_training


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("duration_s = 330.0", "duration_s = -1", "duration_s"),
        ("snap_bytes", "snap_byte", "snap_byte"),
        ('by = "television"', 'by = "toaster"', "toaster"),
        ('name = "plug"', 'name = "phone"', "share a name"),
        ('of = "thermostat"', 'of = "gateway"', "gateway"),
        ("[[devices]]", "[[devices", "recipe"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(tmp_path: Path, before: str, after: str, named: str) -> None:
    wrong = tmp_path / "wrong.toml"
    text = SAMPLE.read_text(encoding="utf-8")
    assert before in text
    wrong.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_recipe(wrong)
    assert named in f"{caught.value}"


def test_a_missing_recipe_is_a_setting_to_correct(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load_recipe(tmp_path / "nowhere.toml")
