"""Raw counts of one view, against a contestant that knows the answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from thingwarden.bench.contestants import Assessment
from thingwarden.bench.measure import measure_captures, measure_ton
from thingwarden.bench.words import encode_words
from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import TON_CLASSES
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.testing import build_scores
from thingwarden.train.corpus import Corpus, Part
from thingwarden.train.folds import FoldPlan, FoldView, view_fold


@dataclass
class Oracle:
    """Says the label, or always the same."""

    name: str = "oracle"
    always: bool | None = None

    def fit(self, view: FoldView, seed: int) -> None:
        """Knows already."""

    def assess(self, flows: FlowBatch) -> Assessment:
        assert flows.labels is not None
        said = flows.labels.malicious == 1
        if self.always is not None:
            said = np.full(len(flows), self.always)
        count = len(flows)
        words = encode_words(Vocabulary.fit([]), flows)
        verdicts = FlowVerdicts(
            malicious_probability=np.where(said, 0.99, 0.01).astype(np.float32),
            is_malicious=said,
            attack_class=np.where(said, 1, 0).astype(np.int8),
            ton_class=flows.labels.ton_class if self.always is None else np.zeros(count, dtype=np.int8),
            device=np.ones(count, dtype=np.int32),
            role=np.zeros(count, dtype=np.int8),
            surprise_nats=np.zeros(count, dtype=np.float32),
        )
        return Assessment(verdicts=verdicts, incidents=(), words=words, scores=build_scores(len(words)))


@pytest.fixture
def view(plan: FoldPlan, corpus: Corpus) -> FoldView:
    return view_fold(plan, corpus, 1)


def test_an_oracle_is_right_everywhere(view: FoldView) -> None:
    records = {record["capture"]: record for record in measure_captures(view.test, Oracle())}
    assert set(records) == {"bad-1", "good-1"}
    bad, good = records["bad-1"], records["good-1"]
    assert bad["malicious"]["rows_said"] == bad["malicious"]["rows"] == 40
    assert bad["malicious"]["weight_said"] == pytest.approx(1.0)
    assert bad["benign"]["rows_said"] == good["benign"]["rows_said"] == 0
    assert bad["classes"]["scan"]["rows"] == 40
    assert good["malicious"]["rows"] == 0 and good["classes"] == {}


def test_whoever_accuses_everybody_is_wrong_about_the_benign(view: FoldView) -> None:
    for record in measure_captures(view.test, Oracle(always=True)):
        assert record["benign"]["rows_said"] == record["benign"]["rows"] == 60


def test_histograms_hold_all_the_weight(view: FoldView) -> None:
    for record in measure_captures(view.test, Oracle()):
        for label in ("malicious", "benign"):
            assert sum(record[label]["histogram"].values()) == pytest.approx(record[label]["weight"])


def test_sessions_of_a_capture_are_counted_together(view: FoldView) -> None:
    good = next(part for part in view.test if part.capture.kind == "benign")
    halves = [Part(good.capture, good.flows.take(rows)) for rows in (np.arange(30), np.arange(30, 60))]
    (record,) = measure_captures(halves, Oracle(always=True))
    assert (record["sessions"], record["flows"]) == (2, 60)
    assert record["benign"]["weight"] == pytest.approx(2.0)


def test_the_table_is_counted_by_true_and_said_class(view: FoldView) -> None:
    record = measure_ton(view, Oracle())
    confusion = np.array(record["pairs"]["confusion"])
    assert confusion.sum() == len(view.ton_test_pairs)
    np.testing.assert_array_equal(confusion, np.diag(np.diag(confusion)))
    blind = np.array(measure_ton(view, Oracle(always=False))["pairs"]["confusion"])
    assert blind[:, TON_CLASSES.index("normal")].sum() == blind.sum()
    assert np.array(record["sources"]["confusion"])[1:].sum() == 0


def test_what_is_assessed_is_shown_to_whoever_asks(view: FoldView) -> None:
    shown: list[str] = []
    measure_captures(view.test, Oracle(), lambda part, _assessment: shown.append(part.capture.name))
    assert sorted(shown) == ["bad-1", "good-1"]
