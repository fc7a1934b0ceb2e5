"""Every contestant goes the same way: blind fit, thresholds on held-out devices, the product's own judge."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pytest

from thingwarden.bench import contestants
from thingwarden.bench.contestants import FittedScorer, ScoringContestant
from thingwarden.domain.word import Scores, WordBatch
from thingwarden.encode.vocabulary import FIELD_INDEX, Vocabulary
from thingwarden.testing import build_scores
from thingwarden.train.corpus import Corpus, Part
from thingwarden.train.folds import FoldPlan, FoldView, view_fold

STATE = FIELD_INDEX["conn_state"]


@dataclass
class StateScorer:
    """Finds closing words without an answer suspicious; remembers how many words each device said."""

    suspicion: float = 0.999
    counts: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((16, 1), dtype=np.float32))

    def reset(self) -> None:
        self.counts = np.zeros((16, 1), dtype=np.float32)

    def score(self, words: WordBatch) -> Scores:
        np.add.at(self.counts[:, 0], words.device, 1.0)
        is_odd = words.is_close & (words.fields[:, STATE] == 1)
        return build_scores(len(words), np.where(is_odd, self.suspicion, 0.001), role="offender")

    def states(self) -> npt.NDArray[np.float32]:
        return self.counts.copy()


@pytest.fixture
def view(plan: FoldPlan, corpus: Corpus) -> FoldView:
    return view_fold(plan, corpus, 0)


def _contestant(scorer: StateScorer, seen: list[FoldView] | None = None) -> ScoringContestant:
    def fit(view: FoldView, seed: int) -> FittedScorer:
        if seen is not None:
            seen.append(view)
        return FittedScorer(vocabulary=Vocabulary.fit([part.flows for part in view.train]), scorer=scorer)

    return ScoringContestant("state", fit)


def test_a_scan_becomes_verdicts_and_one_incident_of_the_right_device(view: FoldView) -> None:
    contestant = _contestant(StateScorer())
    contestant.fit(view.blind(), 0)
    (part,) = [part for part in view.test if part.capture.kind == "attack"]
    assessment = contestant.assess(part.flows)
    assert part.flows.labels is not None
    np.testing.assert_array_equal(assessment.verdicts.is_malicious, part.flows.labels.malicious == 1)
    assert [str(incident.device.address) for incident in assessment.incidents] == ["192.168.1.60"]


def test_thresholds_come_from_the_calibration_devices(view: FoldView) -> None:
    contestant = _contestant(StateScorer())
    contestant.fit(view.blind(), 0)
    said = [contestant.assess(part.flows).verdicts.is_malicious for part in view.calibration]
    assert not np.concatenate(said).any()
    assert contestant.calibration.flow_threshold >= 0.5


def test_untimed_flows_raise_no_incident(view: FoldView) -> None:
    contestant = _contestant(StateScorer())
    contestant.fit(view.blind(), 0)
    assessment = contestant.assess(view.ton.take(view.ton_test_pairs))
    assert assessment.incidents == ()
    assert len(assessment.verdicts) == len(view.ton_test_pairs)


def test_states_are_sampled_along_the_batch(view: FoldView) -> None:
    contestant = _contestant(StateScorer())
    contestant.fit(view.blind(), 0)
    states = contestant.sample_states(view.test[0].flows, 3)
    assert states is not None and 3 <= len(states) <= 9
    assert np.ptp(states) > 0


def test_judging_before_fitting_is_a_bug_that_shows(view: FoldView) -> None:
    with pytest.raises(AssertionError, match="fit comes first"):
        _contestant(StateScorer()).assess(view.test[0].flows)


@pytest.mark.parametrize("block_words", [1, 50, 1_000_000])
def test_watching_says_what_assessing_says(view: FoldView, monkeypatch: pytest.MonkeyPatch, block_words: int) -> None:
    monkeypatch.setattr(contestants, "BLOCK_WORDS", block_words)
    contestant = _contestant(StateScorer())
    contestant.fit(view.blind(), 0)
    for part in view.test:
        assessment, watched = contestant.assess(part.flows), contestant.watch(part.flows)
        np.testing.assert_array_equal(watched.verdicts.is_malicious, assessment.verdicts.is_malicious)
        assert watched.incidents == assessment.incidents


def test_who_may_not_use_the_lab_is_shown_nothing_of_it(view: FoldView) -> None:
    part = view.train[0]
    simulated = Part(replace(part.capture, family="lab"), part.flows)
    shown = replace(view, train=(*view.train, simulated), calibration=(*view.calibration, simulated))
    seen: list[FoldView] = []
    for uses_lab in (True, False):
        contestant = _contestant(StateScorer(), seen)
        ScoringContestant("state", contestant._fitter, uses_lab=uses_lab).fit(shown.blind(), 0)
    with_lab, without = seen
    assert len(with_lab.train) == len(without.train) + 1 and len(with_lab.calibration) == len(without.calibration) + 1
    assert not any(part.capture.family == "lab" for part in (*without.train, *without.calibration))
