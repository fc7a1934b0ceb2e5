"""Networks side by side on the small corpus: cells are kept, twins are compared, teachers are not trained twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.train.corpus import Corpus
from thingwarden.train.folds import FoldPlan, view_fold
from thingwarden.train.recipe import Recipe

pytestmark = pytest.mark.torch
pytest.importorskip("torch")

from thingwarden.bench import architectures, word_cost  # noqa: E402
from thingwarden.bench.architectures import TwinContestant, TwinFitter, run_architectures  # noqa: E402
from thingwarden.train import training  # noqa: E402

FEW_STEPS: dict[str, Any] = {
    "pretrain_rounds": 0, "finetune_rounds": 1, "sentences_per_round": 10, "lanes": 4, "table_rows_per_step": 8,
}  # fmt: skip
PLAIN = {"architecture": "recurrent"}
TEACHER = {"reader": PLAIN, "width": 24, "state_width": 20, "learning_rate": 0.002}


def _recipe(repository: Path, name: str, **changes: Any) -> Recipe:
    values = Recipe.load(repository / "recipes" / "nano.toml").model_dump()
    return Recipe.model_validate({**values, **FEW_STEPS, "width": 16, "state_width": 16, "name": name, **changes})


@pytest.fixture(scope="module")
def recipes(repository: Path) -> list[Recipe]:
    attention = {"architecture": "attention", "layers": 1, "head_count": 2, "head_width": 4, "window_words": 6}
    return [
        _recipe(repository, "plain"),
        _recipe(repository, "window", reader=attention),
        _recipe(repository, "large", width=24, state_width=20, learning_rate=0.002),
        _recipe(repository, "taught", teachers=[TEACHER], distil_share=0.5),
    ]


@pytest.fixture
def written(recipes: list[Recipe], tmp_path: Path) -> list[Path]:
    """Files that hold the recipes."""
    paths = []
    for recipe in recipes:
        path = tmp_path / f"{recipe.name}.toml"
        path.write_text("\n".join(f"{key} = {_toml(value)}" for key, value in recipe.model_dump().items()))
        paths.append(path)
    return paths


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


@pytest.fixture
def small_world(monkeypatch: pytest.MonkeyPatch, corpus: Corpus, plan: FoldPlan) -> None:
    monkeypatch.setattr(architectures, "load_corpus", lambda *_: corpus)
    monkeypatch.setattr(architectures, "load_plan", lambda *_: plan)
    monkeypatch.setattr(architectures, "COST_WORDS", 200)
    monkeypatch.setattr(word_cost, "SINGLE_WORDS", 2)


@pytest.mark.usefixtures("small_world")
def test_a_run_reports_every_network_and_a_second_one_trains_nothing(written: list[Path], tmp_path: Path) -> None:
    told: list[str] = []
    figures = run_architectures(
        tmp_path, tmp_path / "out", tmp_path / "cells", recipes=written, folds=(0,), report=told.append
    )
    names = ["plain", "window", "large", "taught"]
    assert told == [*(f"{name}, fold 0, seed 0" for name in names), "cost of a word"]
    assert list(figures["networks"]) == names and list(figures["against_first"]) == names[1:]
    for network in figures["networks"].values():
        seen = network["agreement"]
        assert 0 < seen["equal_verdict_count"] <= seen["flow_count"]
        assert 0 < seen["equal_class_count"] <= seen["word_count"] and 0 < seen["most_apart"] < 0.5
        assert network["fit_processor_s"][0] > 0
    assert json.loads((tmp_path / "out" / "architectures.json").read_text())["first"] == "plain"
    assert "| taught |" in (tmp_path / "out" / "architectures.md").read_text()

    told.clear()
    again = run_architectures(
        tmp_path, tmp_path / "out", tmp_path / "cells", recipes=written, folds=(0,), report=told.append
    )
    assert told == ["cost of a word"] and again["against_first"] == figures["against_first"]


def test_a_teacher_that_is_a_contestant_too_is_trained_once(
    recipes: list[Recipe], corpus: Corpus, plan: FoldPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    prepare = training.Trainer.prepare

    def spy(*arguments: Any) -> Any:
        trained.append(f"{arguments[3].width}")
        return prepare(*arguments)

    monkeypatch.setattr(training.Trainer, "prepare", spy)
    view, known = view_fold(plan, corpus, 0), {}
    for recipe in recipes[2:]:
        TwinContestant(recipe.name, TwinFitter(recipe, known)).fit(view.blind(), 0)
    assert trained == ["24", "16"]
    TwinContestant("taught", TwinFitter(recipes[3], {})).fit(view.blind(), 0)
    assert trained == ["24", "16", "24", "16"]


def test_twins_that_differ_are_counted(recipes: list[Recipe], corpus: Corpus, plan: FoldPlan) -> None:
    view = view_fold(plan, corpus, 0)
    fitter, other = TwinFitter(recipes[0], {}), TwinFitter(replace_seed(recipes[0]), {})
    contestant = TwinContestant("plain", fitter)
    contestant.fit(view.blind(), 0)
    contestant.assess(view.test[0].flows)
    close = contestant.agreement.most_apart
    other(view.blind(), 7)
    fitter.exact = other.exact
    contestant.assess(view.test[0].flows)
    assert contestant.agreement.most_apart > 2 * close
    assert contestant.agreement.flow_count == 2 * len(view.test[0].flows)


def replace_seed(recipe: Recipe) -> Recipe:
    """The same network, learning so fast that another seed gives other answers."""
    return recipe.model_copy(update={"learning_rate": 0.05})


@pytest.mark.usefixtures("small_world")
@pytest.mark.parametrize(
    ("count", "folds", "why"),
    [(1, (0,), "two or more of different names"), (2, (3,), "the plan has 0 to 2"), (2, (), "the plan has 0 to 2")],
)
def test_what_cannot_be_compared_is_refused(
    written: list[Path], tmp_path: Path, count: int, folds: tuple[int, ...], why: str
) -> None:
    with pytest.raises(RequestError, match=why):
        run_architectures(tmp_path, tmp_path / "out", tmp_path / "cells", recipes=written[:count], folds=folds)


@pytest.mark.usefixtures("small_world")
def test_a_cell_of_another_recipe_is_measured_anew(written: list[Path], tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(2):
        run_architectures(
            tmp_path, tmp_path / "out", tmp_path / "cells", recipes=written[:2], folds=(0,), report=told.append
        )
        written[0].write_text(written[0].read_text().replace("lanes = 4", "lanes = 3"))
    assert told.count("plain, fold 0, seed 0") == 2 and told.count("window, fold 0, seed 0") == 1
