"""A recipe shows everything and nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from part_builder import build_recipe, sketched_part
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.flow import FlowBatch
from thingwarden.encode.vocabulary import FIELD_NAMES
from thingwarden.train.recipe import Recipe

RECIPES = Path(__file__).resolve().parents[3] / "recipes"
TRAINING = [path for path in sorted(RECIPES.glob("*.toml")) if "lane_words" in tomllib.loads(path.read_text())]
NANO = RECIPES / "nano.toml"


def test_the_shipped_recipe_is_among_them() -> None:
    assert NANO in TRAINING


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_every_training_recipe_is_valid_and_names_fields_that_exist(path: Path) -> None:
    recipe = Recipe.load(path)
    assert recipe.name == path.stem
    assert set(recipe.field_masking) <= set(FIELD_NAMES)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('surprise = "none"', "surprise"),
        ("width = 0", "width"),
        ("graft_share = 1.5", "graft_share"),
        ("learning_rate = 0", "learning_rate"),
        ("lanes = 2.5", "lanes"),
        ("[field_masking", "Expected"),
    ],
)
def test_unknown_keys_and_values_are_refused_by_name(tmp_path: Path, line: str, why: str) -> None:
    key = line.split(" = ")[0]
    kept = [text for text in NANO.read_text().splitlines() if not text.startswith(f"{key} =")]
    path = tmp_path / "wrong.toml"
    path.write_text("\n".join([line, *kept]))
    with pytest.raises(ConfigError, match=why) as refused:
        Recipe.load(path)
    assert refused.value.what == str(path) and "nano.toml" in refused.value.hint


def test_every_key_must_be_shown(tmp_path: Path) -> None:
    for key in Recipe.model_fields:
        values = build_recipe().model_dump()
        del values[key]
        path = tmp_path / f"{key}.toml"
        path.write_text("\n".join(_toml(name, value) for name, value in values.items()))
        with pytest.raises(ConfigError, match=key):
            Recipe.load(path)


def _toml(name: str, value: object) -> str:
    return f"{name} = {_toml_value(value)}"


def _toml_value(value: object) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(_toml(key, part) for key, part in value.items())} }}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


TEACHER = {"reader": {"architecture": "recurrent"}, "width": 20, "state_width": 24, "learning_rate": 0.01}


def test_teachers_and_their_weight_go_together() -> None:
    for changes in ({"teachers": [TEACHER]}, {"distil_share": 0.5}):
        with pytest.raises(ValueError, match="distil_share must be above 0 with teachers, and 0 without"):
            build_recipe(**changes)


def test_a_teacher_is_trained_by_the_recipe_but_for_its_own_sizes() -> None:
    recipe = build_recipe(teachers=[TEACHER], distil_share=0.5, lanes=5)
    taught = recipe.taught_by(recipe.teachers[0])
    assert (taught.width, taught.state_width, taught.learning_rate) == (20, 24, 0.01)
    assert (taught.teachers, taught.distil_share, taught.lanes) == ((), 0.0, 5)


def test_the_distilled_recipe_is_taught_by_small() -> None:
    distilled, small = Recipe.load(RECIPES / "nano-distilled.toml"), Recipe.load(RECIPES / "small.toml")
    assert [distilled.taught_by(teacher).substance() for teacher in distilled.teachers] == [small.substance()]


def test_the_family_differs_in_nothing_but_networks() -> None:
    own = {"name", "reader", "width", "state_width", "learning_rate", "teachers", "distil_share"}
    nano = Recipe.load(NANO).model_dump(exclude=own)
    for name in ("small", "nano-attention", "nano-distilled"):
        assert Recipe.load(RECIPES / f"{name}.toml").model_dump(exclude=own) == nano


def test_attention_needs_its_sizes_and_a_recurrence_has_none() -> None:
    for reader in ({"architecture": "attention"}, {"architecture": "recurrent", "layers": 2}, {"architecture": "echo"}):
        with pytest.raises(ValueError, match="reader"):
            build_recipe(reader=reader)


def test_substance_is_all_but_the_name() -> None:
    assert build_recipe(name="other").substance() == build_recipe().substance() != build_recipe(lanes=4).substance()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        Recipe.load(tmp_path / "none.toml")


def test_a_recipe_is_known_by_its_values() -> None:
    assert build_recipe().digest() == build_recipe().digest() != build_recipe(lanes=4).digest()


@pytest.mark.torch
@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_every_training_recipe_runs_two_steps(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from thingwarden.train import finetune
    from thingwarden.train.training import TrainingSet, train_network

    monkeypatch.setattr(finetune, "LONGEST_ROUND_STEPS", 1)
    recipe = Recipe.load(path).model_copy(
        update={"pretrain_rounds": 1, "finetune_rounds": 1, "sentences_per_round": 4, "lanes": 2}
    )
    data = TrainingSet(train=[sketched_part("attack", 1), sketched_part("benign", 2)], calibration=[],
                       table=FlowBatch.empty())  # fmt: skip
    assert train_network(data, recipe, 0).step_count == 2
