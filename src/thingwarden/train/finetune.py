"""The training loop: next words first, then next words, classes, types and roles together.

In: a ``Stage`` of lives, TON_IoT's rows, a recipe, a seed. Out: a trained ``FlowLanguageModel``.
Must never: see a part that the fold holds out; make a malicious word the target of the next-word head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from thingwarden.encode.vocabulary import (
    CLOSE_FIELDS,
    CLOSE_KIND,
    FIELD_NAMES,
    LEARNED_FIELDS,
    MASKED,
    OPEN_KIND,
    Vocabulary,
)
from thingwarden.train.distil import Teachers, soft_loss
from thingwarden.train.lesson import Lesson, Probes, lay_lanes
from thingwarden.train.network import AttentionShape, FlowLanguageModel, Outputs, Shape, State, word_log_likelihood
from thingwarden.train.reader import Trail
from thingwarden.train.recipe import Attention, Recipe
from thingwarden.train.scenes import Sentence, Stage
from thingwarden.train.table import TypedRows

OUTCOME_FIELDS: Final = (*CLOSE_FIELDS, *LEARNED_FIELDS)
OPEN_WORD_WEIGHT: Final = 0.4
"""Weight of an opening's class loss: it cannot know the outcome, and must still speak early."""

TABLE_CLASS_WEIGHT: Final = 0.15
"""Weight of the product's classes on TON_IoT's rows: three in four are attacks and many show nothing of it."""

TABLE_MASKING: Final = 0.02
ROLE_WEIGHT: Final = 0.3
EXPECTED_SHARE: Final = 0.3
"""Share of the benign words that the next-word loss reads while fine-tuning."""

HABIT_WEIGHT: Final = 0.5
"""Weight of what is usual beside what comes next."""

PROBE_WEIGHT: Final = 0.4
"""Weight of the probes' classes and roles: like openings, they do not know how it ends."""

LONE_SHARE: Final = 0.1
LONE_NORMAL_SHARE: Final = 0.2
"""Weight with which harmless words of other sources teach the head of TON_IoT's types what is normal."""

GRADIENT_LIMIT: Final = 1.0
AVERAGE_DECAY: Final = 0.98
"""Of the running average of the weights: about the last fifty steps."""

WARM_UP_SHARE: Final = 0.05
LONGEST_ROUND_STEPS: Final = 400
SCALE_STEPS: Final = 8
"""Steps of scenes that fix the scales of int8 activations: 32,000 words of the shipped recipe."""

Progress = Callable[[str, int, int], None]
"""Called with the phase, the rounds done and the rounds in all."""


def shape_from(vocabulary: Vocabulary, recipe: Recipe) -> Shape:
    """The network's shape for a vocabulary."""
    reader = recipe.reader
    attention = None
    if isinstance(reader, Attention):
        attention = AttentionShape(
            layers=reader.layers,
            head_count=reader.head_count,
            head_width=reader.head_width,
            window_words=reader.window_words,
        )
    return Shape(
        sizes=vocabulary.sizes,
        is_outcome=tuple(name in OUTCOME_FIELDS for name in FIELD_NAMES),
        width=recipe.width,
        state_width=recipe.state_width,
        attention=attention,
    )


@dataclass(slots=True)
class Trainer:
    """One training run."""

    model: FlowLanguageModel
    stage: Stage
    table: TypedRows | None
    recipe: Recipe
    rng: np.random.Generator
    optimizer: torch.optim.Optimizer
    average: AveragedModel
    teachers: Teachers | None = None
    step_count: int = 0

    @classmethod
    def prepare(
        cls,
        vocabulary: Vocabulary,
        stage: Stage,
        table: TypedRows | None,
        recipe: Recipe,
        seed: int,
        teachers: Sequence[FlowLanguageModel] = (),
    ) -> Trainer:
        """A fresh model and optimiser, seeded.

        Args:
            vocabulary, stage, table, recipe, seed: what is learned, and how.
            teachers: trained networks of the same vocabulary; as many as the recipe names.
        """
        torch.manual_seed(seed)
        model = FlowLanguageModel(shape_from(vocabulary, recipe))
        decayed = [p for p in model.parameters() if p.dim() > 1]
        plain = [p for p in model.parameters() if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE_DECAY))
        school = Teachers(teachers, recipe.lanes) if teachers else None
        return cls(model, stage, table, recipe, np.random.default_rng(seed), optimizer, average, school)

    def run(self, progress: Progress | None = None) -> FlowLanguageModel:
        """Train through all rounds; returns the running average of the weights, which errs less than the last ones."""
        recipe = self.recipe
        total = recipe.pretrain_rounds + recipe.finetune_rounds
        for round_index in range(total):
            is_pretraining = round_index < recipe.pretrain_rounds
            self._run_round(round_index, total, is_pretraining)
            if progress is not None:
                progress("pretraining" if is_pretraining else "fine-tuning", round_index + 1, total)
        averaged = self.average.module
        averaged.eval()
        assert isinstance(averaged, FlowLanguageModel)
        return averaged

    def draw_scale_sample(self) -> npt.NDArray[np.uint8]:
        """Training words by which the export fixes its scales, uint8 (B, T, F): scenes, then TON_IoT's rows."""
        lessons = list(lay_lanes(self.draw_sentences(is_pretraining=False), self.recipe, self.rng))[:SCALE_STEPS]
        parts = [lesson.ids.astype(np.uint8) for lesson in lessons]
        if self.table is not None:
            lanes, pairs = self.recipe.lanes, self.recipe.lane_words // 2
            rows = self.table.fields[self.table.draw(self.rng, lanes * pairs)]
            parts.append(rows.reshape(lanes, 2 * pairs, -1))
        return np.concatenate(parts, axis=1)

    def draw_sentences(self, is_pretraining: bool) -> list[Sentence]:
        """A round's scenes: native stretches and grafts."""
        recipe, count = self.recipe, self.recipe.sentences_per_round
        grafts = int(count * recipe.graft_share)
        share = 0.0 if is_pretraining else recipe.malicious_graft_share
        return [
            *self.stage.native(self.rng, count - grafts),
            *self.stage.grafted(self.rng, grafts, malicious_share=share, sketch_share=recipe.sketch_share),
        ]

    def _run_round(self, round_index: int, total: int, is_pretraining: bool) -> None:
        lone = self.stage.lone(self.rng, 4096)
        lessons = list(lay_lanes(self.draw_sentences(is_pretraining), self.recipe, self.rng))[:LONGEST_ROUND_STEPS]
        state = self.model.initial_state(self.recipe.lanes)
        if self.teachers is not None:
            self.teachers.forget()
        for step, lesson in enumerate(lessons):
            self._set_rate((round_index + step / len(lessons)) / total)
            state = state.carried(torch.from_numpy(~lesson.restarts).float())
            loss, outputs = self._lesson_loss(lesson, state, is_pretraining)
            if not is_pretraining:
                loss = loss + self._lone_loss(lone) + self._table_loss()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_LIMIT)
            self.optimizer.step()
            self.average.update_parameters(self.model)
            self.step_count += 1
            state = outputs.state

    def _set_rate(self, done: float) -> None:
        warm = min(1.0, done / WARM_UP_SHARE)
        cosine = 0.5 * (1.0 + np.cos(np.pi * min(1.0, done)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * warm * (0.02 + 0.98 * cosine)

    def _lesson_loss(self, lesson: Lesson, state: State, is_pretraining: bool) -> tuple[Tensor, Outputs]:
        ids = torch.from_numpy(lesson.ids)
        share = 1.0 if is_pretraining else EXPECTED_SHARE
        sampled = self.rng.random(lesson.is_word.shape) < share
        benign = torch.from_numpy(lesson.is_word & (lesson.attack_class == 0) & sampled)
        outputs = self.model(ids, state, benign)
        surprise = self._next_word_loss(outputs, ids[benign]) + HABIT_WEIGHT * self._habit_loss(
            lesson, state, outputs, ids
        )
        if is_pretraining:
            return surprise, outputs
        attack_class, weight = torch.from_numpy(lesson.attack_class), torch.from_numpy(lesson.weight)
        weight = weight * torch.where(ids[..., 0] == OPEN_KIND, OPEN_WORD_WEIGHT, 1.0)
        classes = _weighted_loss(outputs.attack_class, attack_class, weight)
        if self.teachers is not None:
            opinion = self.teachers.read_along(ids, torch.from_numpy(~lesson.restarts).float())
            classes = self._blend(classes, outputs.attack_class, opinion.attack_class, weight * (attack_class >= 0))
        roles = _weighted_loss(outputs.role, torch.from_numpy(lesson.role), weight)
        probes = PROBE_WEIGHT * self._probe_loss(lesson.probes, outputs.trail)
        return classes + ROLE_WEIGHT * roles + self.recipe.pretrain_weight * surprise + probes, outputs

    def _probe_loss(self, probes: Probes, trail: Trail) -> Tensor:
        """Classes and roles of probes, each read from the state that it stands at."""
        if not probes.weight.any():
            return torch.zeros(())
        before = self.model.state_at(trail, torch.from_numpy(probes.lane), torch.from_numpy(probes.after))
        ids = torch.from_numpy(probes.ids)[:, None]  # (P, 1, F)
        nothing = torch.zeros(ids.shape[:2], dtype=torch.bool)
        outputs: Outputs = self.model(ids, before, nothing)
        weight = torch.from_numpy(probes.weight)
        classes = _weighted_loss(outputs.attack_class[:, 0], torch.from_numpy(probes.attack_class), weight)
        return classes + ROLE_WEIGHT * _weighted_loss(outputs.role[:, 0], torch.from_numpy(probes.role), weight)

    def _blend(self, told: Tensor, logits: Tensor, opinion: Tensor, weight: Tensor) -> Tensor:
        """The labels' loss and the teachers', by the recipe's share."""
        share = self.recipe.distil_share
        return (1.0 - share) * told + share * soft_loss(logits, opinion, weight)

    def _next_word_loss(self, outputs: Outputs, words: Tensor) -> Tensor:
        """Mean nats per benign word, over the fields that the word is the first to tell."""
        if not len(words):
            return outputs.word.sum() * 0.0
        likelihood = word_log_likelihood(outputs.word, words, self.model.shape.sizes)
        told = told_fields(words, torch.tensor(self.model.shape.is_outcome))
        return -(likelihood * told).sum(dim=-1).mean()

    def _habit_loss(self, lesson: Lesson, state: State, outputs: Outputs, ids: Tensor) -> Tensor:
        """Mean nats per opening under what the sentence was half a step or more before; only of clean sentences."""
        half = ids.shape[1] // 2
        logits = self.model.expect_openings(torch.stack([state.summary, outputs.summary[:, half - 1]], dim=1))
        usable = torch.from_numpy(lesson.is_word & lesson.is_clean[:, None]) & (ids[..., 0] == 1)
        total, count = torch.zeros(()), 0
        is_outcome = torch.tensor(self.model.shape.is_outcome)
        for number, place in enumerate((slice(0, half), slice(half, None))):
            lane, word = torch.nonzero(usable[:, place], as_tuple=True)
            if not len(lane):
                continue
            words = ids[:, place][lane, word]
            likelihood = word_log_likelihood(logits[lane, number], words, self.model.shape.sizes)
            total = total - (likelihood * told_fields(words, is_outcome)).sum()
            count += len(lane)
        return total / max(count, 1)

    def _lone_loss(self, sentences: list[Sentence]) -> Tensor:
        rows = [sentences[i] for i in self.rng.integers(0, len(sentences), 1 + self.recipe.table_rows_per_step // 3)]
        ids = torch.from_numpy(np.stack([row.fields for row in rows]).astype(np.int64))
        outputs = self._read_alone(ids)
        target = torch.from_numpy(np.stack([row.attack_class for row in rows]).astype(np.int64))
        benign = (target == 0).float()
        weight = (target >= 0) * (benign / benign.mean().clamp(0.1) + (1 - benign) / (1 - benign).mean().clamp(0.1))
        loss = LONE_SHARE * _weighted_loss(outputs.attack_class, target, weight)
        if self.table is None or not (target[:, 1] == 0).any():
            return loss
        normal = outputs.ton_class[:, 1][target[:, 1] == 0]
        return loss + LONE_NORMAL_SHARE * nn.functional.cross_entropy(
            normal, torch.zeros(len(normal), dtype=torch.long)
        )

    def _read_alone(self, ids: Tensor) -> Outputs:
        nothing = torch.zeros(ids.shape[:2], dtype=torch.bool)
        outputs: Outputs = self.model(ids, self.model.initial_state(len(ids)), nothing)
        return outputs

    def _table_loss(self) -> Tensor:
        if self.table is None:
            return torch.zeros(())
        rows = self.table.draw(self.rng, self.recipe.table_rows_per_step)
        fields = self.table.fields[rows].astype(np.int64)
        fields[np.repeat(self.rng.random((len(rows), 1, fields.shape[2])) < TABLE_MASKING, 2, axis=1)] = MASKED
        outputs = self._read_alone(torch.from_numpy(fields))
        types = torch.from_numpy(self.table.ton_class[rows].astype(np.int64))
        classes = torch.from_numpy(self.table.attack_class[rows].astype(np.int64))
        weight = torch.where(classes == 0, 3.0, 1.0)  # one normal row for three attacks in the set
        typed = nn.functional.cross_entropy(outputs.ton_class[:, 1], types)
        if self.teachers is not None:
            opinion = self.teachers.read_alone(torch.from_numpy(fields)).ton_class[:, 1]
            typed = self._blend(typed, outputs.ton_class[:, 1], opinion, torch.ones(len(types)))
        product = _weighted_loss(outputs.attack_class[:, 1], classes, weight)
        return typed + TABLE_CLASS_WEIGHT * product


def told_fields(ids: Tensor, is_outcome: Tensor) -> Tensor:
    """Which fields count as news in each word, float (..., F): an opening's own, a closing's outcome; none masked."""
    is_close = (ids[..., :1] == CLOSE_KIND).expand(ids.shape)
    return ((is_close == is_outcome) & (ids > 0)).float()


def _weighted_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy over targets of at least 0, weighted, divided by the number of words."""
    flat = nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), target.clamp(min=0).reshape(-1), reduction="none"
    )
    usable = (target >= 0).reshape(-1) * weight.reshape(-1)
    return (flat * usable).sum() / usable.sum().clamp(min=1.0)
