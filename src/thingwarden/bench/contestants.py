"""What a contestant is, and the one way in which every contestant's scores become verdicts and incidents.

In: a blind ``FoldView`` to fit on, then flows. Out: ``Assessment``.
Must never: set a threshold on what is tested, or treat the model otherwise than the baselines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from thingwarden.bench.words import slice_words
from thingwarden.detect.correlate import Correlator
from thingwarden.detect.verdict import FlowJudge
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.device import Device
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import Incident
from thingwarden.domain.ports import Scorer
from thingwarden.domain.word import Scores, WordBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.train.folds import FoldView
from thingwarden.train.thresholds import Scored, prepare, set_thresholds

BLOCK_WORDS: Final = 131_072
"""Words that are judged at once where a batch is long: half a gigabyte for the hungriest baseline."""

STATE_STRIDE_WORDS: Final = 24
"""The provenance probe looks at the states after every so many words."""

FPR_BUDGET: Final = 0.005
"""Share of benign flows, by pattern, that a contestant may call malicious: the line at which rankings are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What a contestant said about a batch.

    Attributes:
        verdicts: one per flow.
        incidents: by time of opening; none for untimed flows.
        words, scores: what the verdicts were made of, for the shortcut audit.
        devices: by the index that words name them by.
    """

    verdicts: FlowVerdicts
    incidents: tuple[Incident, ...]
    words: WordBatch
    scores: Scores
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a contestant said about a long batch: an ``Assessment`` without the words."""

    verdicts: FlowVerdicts
    incidents: tuple[Incident, ...]


class Contestant(Protocol):
    """Anything that learns from a fold and then judges flows."""

    @property
    def name(self) -> str:
        """Short and unique: it names cells and table rows."""

    def fit(self, view: FoldView, seed: int) -> None:
        """Learn from ``view.train`` and ``view.ton_train``; set thresholds on ``view.calibration``."""

    def assess(self, flows: FlowBatch) -> Assessment:
        """Judge a batch on its own: nothing is remembered from other batches."""

    def watch(self, flows: FlowBatch) -> Watched:
        """As ``assess``, block by block, for batches whose words do not fit in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedScorer:
    """A trained scorer with what it needs to be fed.

    Attributes:
        vocabulary: fitted on the same training flows.
        scorer: is reset before every batch.
        calibration: where it starts from; threshold and alarm level are the referee's.
    """

    vocabulary: Vocabulary
    scorer: Scorer
    calibration: Calibration = field(default_factory=Calibration)


@runtime_checkable
class StatefulScorer(Scorer, Protocol):
    """A scorer that shows what it remembers."""

    def states(self) -> npt.NDArray[np.float32]:
        """Each device's state, float32 (devices, H)."""


class Fitter(Protocol):
    """The part of a contestant that learns."""

    def __call__(self, view: FoldView, seed: int) -> FittedScorer:
        """Fit on the training part of a blind view."""


class ScoringContestant:
    """A contestant whose scores go through the product's own judge and correlator.

    Args:
        name: see ``Contestant``.
        fitter: learns.
        uses_lab: whether it may learn, and set thresholds, on simulated networks.
    """

    def __init__(self, name: str, fitter: Fitter, *, uses_lab: bool = True) -> None:
        self.name = name
        self._fitter = fitter
        self._uses_lab = uses_lab
        self._fitted: FittedScorer | None = None
        self._calibration = Calibration()

    @classmethod
    def ready(cls, name: str, fitted: FittedScorer) -> Self:
        """One that has learned already and keeps the thresholds that it came with."""
        contestant = cls(name, lambda _view, _seed: fitted)
        contestant._fitted, contestant._calibration = fitted, fitted.calibration
        return contestant

    @property
    def calibration(self) -> Calibration:
        """In force since the last ``fit``."""
        return self._calibration

    def fit(self, view: FoldView, seed: int) -> None:
        """Learn, then set threshold and alarm level on benign devices that were held out of the learning."""
        view = view if self._uses_lab else view.without_lab()
        self._fitted = self._fitter(view, seed)
        scored = [Scored(family, part, *self._score(part.flows)[:2]) for family, part in prepare(view.calibration)]
        self._calibration = set_thresholds(scored, self._fitted.calibration)

    def assess(self, flows: FlowBatch) -> Assessment:
        """See ``Contestant``."""
        return self.judge(flows, *self._score(flows))

    def judge(self, flows: FlowBatch, words: WordBatch, scores: Scores, devices: Sequence[Device]) -> Assessment:
        """The assessment of flows whose words are scored already."""
        judge = FlowJudge(len(flows), self._calibration, is_timed=flows.is_timed)
        judge.update(words, scores)
        incidents: list[Incident] = []
        if flows.is_timed:
            correlator = Correlator(self._calibration, devices)
            correlator.update(words, scores, flows)
            judge.accuse(correlator.accusations())
            incidents = correlator.finish(flows)
        return Assessment(
            verdicts=judge.verdicts(), incidents=tuple(incidents), words=words, scores=scores, devices=tuple(devices)
        )

    def watch(self, flows: FlowBatch) -> Watched:
        """See ``Contestant``; a baseline that sums up history begins it anew in every block."""
        assert self._fitted is not None, "fit comes first"
        encoder = SentenceEncoder(self._fitted.vocabulary)
        self._fitted.scorer.reset()
        judge = FlowJudge(len(flows), self._calibration)
        correlator = Correlator(self._calibration, encoder.devices)
        for words in _blocks(encoder.encode(flows)):
            scores = self._fitted.scorer.score(words)
            judge.update(words, scores)
            correlator.update(words, scores, flows)
            judge.accuse(correlator.accusations())
        return Watched(verdicts=judge.verdicts(), incidents=tuple(correlator.finish(flows)))

    def sample_states(self, flows: FlowBatch, limit: int) -> npt.NDArray[np.float32] | None:
        """States along a batch, float32 (k, H), at most about ``limit`` of them; None where the scorer shows none."""
        assert self._fitted is not None, "fit comes first"
        scorer = self._fitted.scorer
        if not isinstance(scorer, StatefulScorer) or not len(flows):
            return None
        words = WordBatch.concatenate(SentenceEncoder(self._fitted.vocabulary).encode(flows))
        scorer.reset()
        sampled = []
        for start in range(0, min(len(words), limit * STATE_STRIDE_WORDS), STATE_STRIDE_WORDS):
            chunk = slice_words(words, slice(start, start + STATE_STRIDE_WORDS))
            scorer.score(chunk)
            sampled.append(scorer.states()[np.unique(chunk.device)])
        return np.concatenate(sampled)

    def _score(self, flows: FlowBatch) -> tuple[WordBatch, Scores, Sequence[Device]]:
        assert self._fitted is not None, "fit comes first"
        encoder = SentenceEncoder(self._fitted.vocabulary)
        words = WordBatch.concatenate(encoder.encode(flows))
        self._fitted.scorer.reset()
        return words, self._fitted.scorer.score(words), encoder.devices


def _blocks(chunks: Iterable[WordBatch]) -> Iterator[WordBatch]:
    """An encoder's chunks, joined until they hold ``BLOCK_WORDS``."""
    kept: list[WordBatch] = []
    for chunk in chunks:
        kept.append(chunk)
        if sum(map(len, kept)) >= BLOCK_WORDS:
            yield WordBatch.concatenate(kept)
            kept = []
    if kept:
        yield WordBatch.concatenate(kept)
