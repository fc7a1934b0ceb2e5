"""A recipe that is wrong is refused by file, key and value; packaged ones are found by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.lab.recipe import find_recipe, list_scenarios, load_recipe, recipe_sha256

TEXT = """
name = "tiny"
about = "Two devices and an outage."
duration_s = 60.0
seed = 1
exclude_from_training = true

[[devices]]
name = "plug"
kind = "plug"
host = 5

[[devices]]
name = "lamp"
kind = "plug"
host = 6

[[events]]
kind = "cloud_outage"
on = ["vendor.example"]
begins_ratio = [0.2, 0.3]
lasts_s = 10.0
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_not_said_has_its_usual_value(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, TEXT))
    assert (recipe.condition, recipe.ip_versions, recipe.breadth) == ("home", (4,), 0.0)
    assert recipe.events[0].count == 1


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("duration_s = 60.0", "duration_s = -1", ("duration_s", "-1", "greater than 5")),
        ("seed = 1", "sead = 1", ("seed",)),
        ("seed = 1", 'seed = 1\ncondition = "marsnet"', ("marsnet", "wired")),
        ("seed = 1", "seed = 1\nip_versions = [6]", ("ip_versions", "[4, 6]")),
        ('name = "lamp"', 'name = "plug"', ("share a name",)),
        ('name = "lamp"', 'name = "gateway"', ("gateway",)),
        ('name = "lamp"\nkind = "plug"', 'name = "lamp"\nkind = "toaster"', ("lamp", "toaster", "thermostat")),
        ('name = "lamp"\nkind', 'name = "lamp"\ncolour', ("devices.1",)),
        ('on = ["vendor.example"]', 'on = ["toaster"]', ("events.0", "toaster", "resolver")),
        ('on = ["vendor.example"]', 'by = ["toaster"]', ("events.0", "toaster", "internet")),
        ('on = ["vendor.example"]', 'on = ["vendor.example"]\nip_version = 6', ("ip_version", "events.0")),
        ("lasts_s = 10.0", "", ("lasts_ratio",)),
        ("begins_ratio = [0.2, 0.3]", "begins_ratio = [0.4, 0.3]", ("begins_ratio", "0.4")),
        ("[[devices]]", "[[devices", ("tiny.toml",)),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(tmp_path: Path, before: str, after: str, named: tuple[str, ...]) -> None:
    assert before in TEXT
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, TEXT.replace(before, after)))
    assert all(part in str(caught.value) for part in ("tiny.toml", *named)), str(caught.value)


def test_a_missing_recipe_is_a_setting_to_correct(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load_recipe(tmp_path / "nowhere.toml")


def test_packaged_scenarios_are_found_by_name_and_others_by_path(tmp_path: Path) -> None:
    assert load_recipe(find_recipe("sample")).name == "sample"
    own = write(tmp_path, TEXT)
    assert find_recipe(str(own)) == own
    with pytest.raises(RequestError, match="no-such-scenario"):
        find_recipe("no-such-scenario")


def test_every_packaged_scenario_bears_the_name_of_its_file() -> None:
    scenarios = list_scenarios()
    assert scenarios
    assert {find_recipe(recipe.name).stem for recipe in scenarios} == {recipe.name for recipe in scenarios}


def test_the_sample_may_not_be_trained_on() -> None:
    assert load_recipe(find_recipe("sample")).exclude_from_training


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    one = recipe_sha256(write(tmp_path, TEXT))
    assert one != recipe_sha256(write(tmp_path, TEXT + "\n"))
    assert len(one) == 64
