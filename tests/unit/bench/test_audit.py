"""The shortcut audit finds shortcuts where they are, and none where there are none."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from thingwarden.bench.audit import (
    SourceProbe,
    compare_routes,
    gates_without_model,
    graft_attacks,
    graft_flows,
    match_flows,
)
from thingwarden.bench.baselines import RECIPES, BaselineFitter, TrainingShelf
from thingwarden.bench.contestants import Assessment, ScoringContestant
from thingwarden.bench.words import encode_words
from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.flow import FlowBatch, words_from_address
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.testing import FlowSpec, build_flows, build_scores
from thingwarden.train.corpus import Capture, Corpus, Part
from thingwarden.train.folds import FoldPlan, FoldView, view_fold


@dataclass
class Teller:
    """Says a probability that depends on nothing but the capture it is told to be in."""

    name: str = "teller"
    probabilities: list[float] = field(default_factory=list)

    def fit(self, view: FoldView, seed: int) -> None:
        """Nothing to learn."""

    def assess(self, flows: FlowBatch) -> Assessment:
        words = encode_words(Vocabulary.fit([]), flows)
        count = len(flows)
        noise = np.random.default_rng(len(self.probabilities)).normal(0, 0.01, len(words))
        scores = build_scores(len(words), np.clip(self.probabilities.pop(0) + noise, 0.0, 1.0).astype(np.float32))
        verdicts = FlowVerdicts(
            malicious_probability=np.zeros(count, dtype=np.float32),
            is_malicious=np.zeros(count, dtype=np.bool_),
            attack_class=np.zeros(count, dtype=np.int8),
            ton_class=np.zeros(count, dtype=np.int8),
            device=np.ones(count, dtype=np.int32),
            role=np.zeros(count, dtype=np.int8),
            surprise_nats=np.zeros(count, dtype=np.float32),
        )
        return Assessment(verdicts=verdicts, incidents=(), words=words, scores=scores)


def _benign_parts(corpus: Corpus) -> list[Part]:
    flows = next(part.flows for part in corpus.parts if part.capture.kind == "benign")
    families = ("home-2020", "home-2020", "iot23", "iot23")
    return [
        Part(Capture(name=f"{number}", family=family, group="", kind="benign", paths=(Path("x"),)), flows)  # type: ignore[arg-type]
        for number, family in enumerate(families)
    ]


@pytest.mark.parametrize(
    ("probabilities", "low", "high"),
    [([0.1, 0.1, 0.4, 0.4], 0.95, 1.0), ([0.2, 0.2, 0.2, 0.2], 0.35, 0.65)],
)
def test_the_probe_tells_the_route_only_where_scores_do(
    corpus: Corpus, probabilities: list[float], low: float, high: float
) -> None:
    teller = Teller(probabilities=list(probabilities))
    probe = SourceProbe(teller, seed=0)
    for part in _benign_parts(corpus):
        probe.keep(part, teller.assess(part.flows))
    accuracy = probe.balanced_accuracy()
    assert accuracy is not None and low <= accuracy <= high


def test_a_probe_without_both_routes_says_nothing(corpus: Corpus) -> None:
    teller = Teller(probabilities=[0.1])
    probe = SourceProbe(teller, seed=0)
    assert probe.balanced_accuracy() is None
    part = _benign_parts(corpus)[0]
    probe.keep(part, teller.assess(part.flows))
    assert probe.balanced_accuracy() is None


def test_a_graft_moves_the_attack_to_the_host_and_keeps_all_else(corpus: Corpus) -> None:
    host, source = corpus.parts[2].flows, corpus.parts[1].flows
    grafted = graft_flows(host, source)
    assert grafted.labels is not None and source.labels is not None
    moved = grafted.take(grafted.labels.malicious == 1)
    assert len(moved) == (source.labels.malicious == 1).sum()
    assert (moved.orig_address == host.orig_address[0]).all()
    np.testing.assert_array_equal(moved.resp_address, source.resp_address[source.labels.malicious == 1])
    assert moved.started_at_s[0] == pytest.approx(np.median(host.started_at_s))
    assert (np.diff(grafted.started_at_s) >= 0).all()
    assert len(grafted) == len(host) + len(moved)


def test_the_target_is_moved_where_every_flow_has_another_offender(corpus: Corpus) -> None:
    host, source = corpus.parts[2].flows, corpus.parts[1].flows
    assert source.labels is not None
    turned = replace(source, orig_address=source.resp_address, resp_address=source.orig_address)
    grafted = graft_flows(host, turned)
    assert grafted.labels is not None
    moved = grafted.take(grafted.labels.malicious == 1)
    assert (moved.resp_address == host.orig_address[0]).all()
    strangers = np.array(words_from_address(__import__("ipaddress").ip_address("203.0.113.1")), dtype=np.uint64)
    assert (moved.orig_address == strangers).all(axis=1).any()


def test_flows_of_two_routes_are_matched_by_tuple_and_start() -> None:
    log = build_flows([FlowSpec(at_s=0), FlowSpec(at_s=50), FlowSpec(at_s=9, resp_port=80), FlowSpec(at_s=70)])
    packets = build_flows([FlowSpec(at_s=50.01), FlowSpec(at_s=9.5, resp_port=80), FlowSpec(at_s=0.002)])
    rows, packet_rows = match_flows(log, packets)
    assert rows.tolist() == [0, 1]
    assert packet_rows.tolist() == [2, 0]
    assert [len(found) for found in match_flows(log, packets.take(np.zeros(0, dtype=np.int64)))] == [0, 0]


def test_verdicts_of_both_routes_are_compared(plan: FoldPlan, corpus: Corpus) -> None:
    second = Part(corpus.parts[0].capture, corpus.parts[0].flows)
    view = view_fold(plan, replace(corpus, second_routes=(second,)), 0)
    assert view.blind().second_routes == ()
    contestant = ScoringContestant("dictionary", BaselineFitter(RECIPES["dictionary"], TrainingShelf()))
    contestant.fit(view.blind(), 0)
    (record,) = compare_routes(view, contestant)
    assert record == {"capture": "good-0", "flows": 60, "matched": 60, "equal_verdicts": 60}


def test_a_baseline_finds_grafted_scans(plan: FoldPlan, corpus: Corpus) -> None:
    view = view_fold(plan, corpus, 0)
    contestant = ScoringContestant("forest", BaselineFitter(RECIPES["forest"], TrainingShelf()))
    contestant.fit(view.blind(), 0)
    (graft,) = graft_attacks(view, contestant, seed=0)
    assert (graft["attack"], graft["host"]) == ("bad-0", "good-0")
    assert graft["weight_said"] == pytest.approx(graft["weight"])


def test_gates_see_the_shortcut_that_position_offers(plan: FoldPlan, corpus: Corpus) -> None:
    counts = gates_without_model(view_fold(plan, corpus, 0))
    assert set(counts) == {"source", "position"}
    position = counts["position"]
    assert position["malicious"] == pytest.approx(1.0)
    assert position["hit"] == pytest.approx(1.0)


def test_gates_look_at_nothing_simulated(plan: FoldPlan, corpus: Corpus) -> None:
    view = view_fold(plan, corpus, 0)
    simulated = tuple(part._replace(capture=replace(part.capture, family="lab")) for part in view.train)
    assert gates_without_model(replace(view, train=(*view.train, *simulated))) == gates_without_model(view)
