"""The training loop: what counts as news, what is never a target, and that a seed decides everything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flow_builder import VOCABULARY, random_flows
from part_builder import build_recipe, sketched_part
from thingwarden.encode.vocabulary import CLOSE_FIELDS, FIELD_NAMES, LEARNED_FIELDS
from thingwarden.train.scenes import Stage

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from thingwarden.train import finetune  # noqa: E402
from thingwarden.train.finetune import Trainer, shape_from, told_fields  # noqa: E402
from thingwarden.train.lesson import Lesson, Probes  # noqa: E402


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage([sketched_part("attack", 1), sketched_part("benign", 2)], VOCABULARY)


def _trainer(stage: Stage, seed: int = 0, **changes: object) -> Trainer:
    return Trainer.prepare(VOCABULARY, stage, None, build_recipe(**changes), seed)


def test_the_shape_follows_vocabulary_and_recipe() -> None:
    shape = shape_from(VOCABULARY, build_recipe(width=20, state_width=30))
    assert (shape.sizes, shape.width, shape.state_width) == (VOCABULARY.sizes, 20, 30)
    outcome = {name for name, is_outcome in zip(FIELD_NAMES, shape.is_outcome, strict=True) if is_outcome}
    assert outcome == {*CLOSE_FIELDS, *LEARNED_FIELDS}


def test_a_word_tells_its_own_fields_unless_masked() -> None:
    ids = torch.tensor([[1, 5, 0, 7, 7], [2, 5, 6, 0, 7]])  # an opening and a closing word
    is_outcome = torch.tensor([False, False, False, True, True])
    assert told_fields(ids, is_outcome).tolist() == [[1, 1, 0, 0, 0], [0, 0, 0, 0, 1]]


def _lesson(attack_class: int) -> Lesson:
    rng = np.random.default_rng(0)
    shape = (3, 32)
    ids = (rng.random((*shape, len(FIELD_NAMES))) * np.array(VOCABULARY.sizes)).astype(np.int64)
    return Lesson(
        ids=ids,
        attack_class=np.full(shape, attack_class, dtype=np.int64),
        role=np.zeros(shape, dtype=np.int64),
        weight=np.ones(shape, dtype=np.float32),
        is_word=np.ones(shape, dtype=bool),
        restarts=np.ones(3, dtype=bool),
        is_clean=np.full(3, attack_class == 0),
        probes=Probes.empty(),
    )


@pytest.mark.parametrize(("attack_class", "is_target"), [(0, True), (1, False), (-1, False)])
def test_only_benign_words_teach_what_to_expect(stage: Stage, attack_class: int, is_target: bool) -> None:
    trainer = _trainer(stage)
    loss, _ = trainer._lesson_loss(_lesson(attack_class), trainer.model.initial_state(3), is_pretraining=True)
    loss.backward()
    gradient = trainer.model.opening_head.weight.grad
    assert gradient is not None and bool(gradient.any()) == is_target


def test_words_of_unknown_class_teach_no_class(stage: Stage) -> None:
    trainer = _trainer(stage)
    loss, _ = trainer._lesson_loss(_lesson(-1), trainer.model.initial_state(3), is_pretraining=False)
    loss.backward()
    gradient = trainer.model.class_head.weight.grad
    assert gradient is None or not gradient.any()


def test_a_seed_decides_every_weight(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "LONGEST_ROUND_STEPS", 2)
    one, two, other = (_trainer(stage, seed).run().state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_progress_tells_every_round_and_every_step_is_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "LONGEST_ROUND_STEPS", 1)
    told: list[tuple[str, int, int]] = []
    trainer = _trainer(stage, pretrain_rounds=1, finetune_rounds=2)
    model = trainer.run(lambda *said: told.append(said))
    assert told == [("pretraining", 1, 3), ("fine-tuning", 2, 3), ("fine-tuning", 3, 3)]
    assert trainer.step_count == 3 and not model.training


def test_pretraining_sees_no_malicious_graft(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    grafted = stage.grafted

    def spy(rng: np.random.Generator, count: int, *, malicious_share: float, sketch_share: float) -> object:
        shares.append(malicious_share)
        return grafted(rng, count, malicious_share=malicious_share, sketch_share=sketch_share)

    monkeypatch.setattr(stage, "grafted", spy)
    trainer = _trainer(stage, malicious_graft_share=0.6)
    for is_pretraining in (True, False):
        assert len(trainer.draw_sentences(is_pretraining)) == trainer.recipe.sentences_per_round
    assert shares == [0.0, 0.6]


def test_a_teacher_speaks_for_words_that_have_a_label(stage: Stage) -> None:
    teacher = {"reader": {"architecture": "recurrent"}, "width": 12, "state_width": 16, "learning_rate": 0.01}
    recipe = build_recipe(teachers=[teacher], distil_share=1.0)
    school = [_trainer(stage, seed=5).model]
    for label, is_taught in ((2, True), (-1, False)):
        trainer = Trainer.prepare(VOCABULARY, stage, None, recipe, 0, school)
        loss, _ = trainer._lesson_loss(_lesson(label), trainer.model.initial_state(3), is_pretraining=False)
        loss.backward()
        gradient = trainer.model.class_head.weight.grad
        assert gradient is not None and bool(gradient.any()) == is_taught


def test_attention_is_shaped_by_the_recipe() -> None:
    reader = {"architecture": "attention", "layers": 2, "head_count": 3, "head_width": 4, "window_words": 9}
    attention = shape_from(VOCABULARY, build_recipe(reader=reader)).attention
    assert attention is not None and (attention.layers, attention.head_count, attention.window_words) == (2, 3, 9)
    assert shape_from(VOCABULARY, build_recipe()).attention is None


def test_typed_rows_teach_the_types_head(stage: Stage) -> None:
    from thingwarden.domain.flow import Labels
    from thingwarden.train.table import collect_typed_rows

    types = np.arange(60, dtype=np.int8) % 10
    labels = Labels(malicious=(types > 0).astype(np.int8), attack_class=np.where(types > 0, -1, 0).astype(np.int8),
                    ton_class=types, detail=np.full(60, b"x", dtype="S48"))  # fmt: skip
    rows = collect_typed_rows(replace(random_flows(1, 60), labels=labels, is_timed=False), VOCABULARY)
    trainer = Trainer.prepare(VOCABULARY, stage, rows, build_recipe(), 0)
    trainer._table_loss().backward()
    gradient = trainer.model.ton_head.weight.grad
    assert gradient is not None and gradient.any()
