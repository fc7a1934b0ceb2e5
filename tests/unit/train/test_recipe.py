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
    if isinstance(value, dict):
        return f"{name} = {{ {', '.join(f'{key} = {share}' for key, share in value.items())} }}"
    return f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}"


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
