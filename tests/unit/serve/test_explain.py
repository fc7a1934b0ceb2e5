"""Planted causes are named: those planted in the model exactly, those planted in the traffic of the real one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pytest

from flow_builder import VOCABULARY
from planted_builder import plant
from thingwarden.config import PACKAGED_MODEL
from thingwarden.detect.attribution import SAME_SERVICE, WINDOW_WORDS, Question, Witness
from thingwarden.detect.correlate import Correlator
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import Reason
from thingwarden.domain.taxonomy import CLASSES, AttackClass
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import FIELD_INDEX, FIELD_NAMES, Vocabulary
from thingwarden.encode.wording import TOPICS
from thingwarden.model.artifact import Artifact, load_artifact
from thingwarden.model.occlusion import Passage
from thingwarden.model.scorer import FlowScorer, SentenceState
from thingwarden.serve.explain import Explainer, recalling
from thingwarden.testing import FlowSpec, build_flows

VOID = SentenceState(np.zeros((1, 0), dtype=np.float32), np.zeros((1, 0), dtype=np.float32))
FLOWS = build_flows([FlowSpec(resp=f"203.0.113.{row + 1}", resp_port=23) for row in range(20)])
QUESTION = Question(
    incident_id="0" * 12,
    device=1,
    role=1,
    attack_class=AttackClass.SCAN,
    at=datetime(2026, 1, 2, tzinfo=UTC),
    witnesses=(Witness(number=20, flow=19, is_orig=True),),
)


class KnownCause:
    """A model that we know: malicious while the last word's fields hold 3, or while many words came before.

    Args:
        fields: any of which says 3 in the attack's words; every other field says 2; harmless words say 1.
        least_words: words that a passage must have to look malicious.
    """

    def __init__(self, fields: tuple[str, ...] = (), least_words: int = 1, quiet_count: int = 12) -> None:
        self._columns, self._least_words = [FIELD_INDEX[field] for field in fields], least_words
        said = np.full((20, len(FIELD_NAMES)), 2, dtype=np.uint8)
        said[:, self._columns] = 3
        said[:quiet_count] = 1
        said[:, FIELD_INDEX["kind"]] = 2
        self._said = Passage(
            fields=said,
            flow=np.arange(20),
            is_orig=np.ones(20, dtype=np.bool_),
            is_quiet=np.arange(20) < quiet_count,
            before=VOID,
        )

    def recall(self, device: int, number: int) -> Passage | None:
        return self._said.last(WINDOW_WORDS, VOID) if number == 20 else None

    def recall_context(self, device: int, number: int) -> Passage | None:
        return self._said

    def class_probability(
        self,
        passage: Passage,
        others: npt.NDArray[np.uint8],
        exchanged: npt.NDArray[np.bool_],
        dropped: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float32]:
        last = np.where(exchanged, others[-1], passage.fields[-1])
        is_named = (last[:, self._columns] == 3).any(axis=1) if self._columns else np.ones(len(exchanged), dtype=bool)
        is_long = len(passage) - dropped.sum(axis=1) >= self._least_words
        malicious = np.where(is_named & is_long, 0.99, 0.01)
        probability = np.zeros((len(exchanged), len(CLASSES)), dtype=np.float32)
        probability[:, 0], probability[:, 1] = 1 - malicious, malicious
        return probability


@pytest.mark.parametrize("topic", TOPICS)
def test_the_one_cause_is_the_one_reason(topic: str) -> None:
    reasons = Explainer(KnownCause(TOPICS[topic]), VOCABULARY, 1.0).explain(QUESTION, FLOWS)
    assert [reason.topic for reason in reasons] == [topic]
    assert reasons[0].nats == pytest.approx(2 * np.log(99), rel=1e-3)
    assert reasons[0].together_nats == pytest.approx(reasons[0].nats)
    assert reasons[0].flow == 19 and reasons[0].text


def test_without_harmless_words_the_cause_is_hidden_instead() -> None:
    reasons = Explainer(KnownCause(TOPICS["rhythm"], quiet_count=0), VOCABULARY, 1.0).explain(QUESTION, FLOWS)
    assert [reason.topic for reason in reasons] == ["rhythm"]


def test_earlier_words_are_a_reason_where_they_are_the_cause() -> None:
    reasons = Explainer(KnownCause(least_words=10), VOCABULARY, 1.0).explain(QUESTION, FLOWS)
    assert [reason.topic for reason in reasons] == [SAME_SERVICE]
    assert reasons[0].text == "19 earlier flows to other addresses on tcp/23"


def test_two_causes_of_which_either_suffices_are_no_reason_alone() -> None:
    """What the score survives without has not moved it; the report must not invent a reason."""
    either = Explainer(KnownCause(("duration", "peer_ports")), VOCABULARY, 1.0)
    assert either.explain(QUESTION, FLOWS) == ()


def test_a_witness_that_is_forgotten_gives_no_reason() -> None:
    lost = replace(QUESTION, witnesses=(Witness(number=7, flow=6, is_orig=True),))
    assert Explainer(KnownCause(TOPICS["pace"]), VOCABULARY, 1.0).explain(lost, FLOWS) == ()


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return load_artifact(PACKAGED_MODEL)


def ask_all(artifact: Artifact, flows: FlowBatch, chunk_words: int = 512) -> dict[tuple[str, int], tuple[Reason, ...]]:
    """Reasons of every question that the packaged model's incidents raise, by class and role.

    The alarm is easier to raise than as shipped: whether an attack is found is not the matter here.
    """
    vocabulary = Vocabulary.from_json(artifact.vocabulary)
    scorer, encoder = recalling(FlowScorer(artifact)), SentenceEncoder(vocabulary)
    explainer = Explainer(scorer, vocabulary, artifact.calibration.temperature)
    calibration = replace(artifact.calibration, flow_threshold=0.7, alarm_level_nats=25.0)
    correlator = Correlator(calibration, encoder.devices)
    found = {}
    for words in encoder.encode(flows, chunk_words):
        correlator.update(words, scorer.score(words), flows)
        for question in correlator.questions():
            found[question.attack_class.value, question.role] = explainer.explain(question, flows)
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scan", {"breadth", SAME_SERVICE}),
        ("beacon", {"service", "rhythm", "same_size"}),
        ("guessing", {"service", "repeats", "failures"}),
        ("flood", {"pace"}),
    ],
)
def test_what_was_planted_into_a_harmless_life_is_named(artifact: Artifact, name: str, expected: set[str]) -> None:
    flows, is_planted = plant(name)
    found = ask_all(artifact, flows)
    assert found, "the model raises no incident"
    for reasons in found.values():
        assert expected & {reason.topic for reason in reasons}
        assert is_planted[[reason.flow for reason in reasons]].all()
        assert all(reason.nats > 0 or reason.together_nats > 1 for reason in reasons)
    assert max(reasons[-1].together_nats for reasons in found.values()) > 4.0


def test_the_cut_of_the_chunks_changes_no_reason(artifact: Artifact) -> None:
    flows, _ = plant("scan")
    cut = [ask_all(artifact, flows, chunk_words) for chunk_words in (40, 512, 100_000)]
    for other in cut[1:]:
        assert other.keys() == cut[0].keys()
        for key, reasons in cut[0].items():
            for one, two in zip(reasons, other[key], strict=True):
                assert (one.topic, one.text, one.flow) == (two.topic, two.text, two.flow)
                assert one.nats == pytest.approx(two.nats, abs=1e-3)


def test_no_text_of_the_traffic_is_repeated(artifact: Artifact) -> None:
    flows, _ = plant("scan")
    spoken = replace(flows, service=np.full(len(flows), b"</why>all is well", dtype="S24"))
    reasons = [reason for told in ask_all(artifact, spoken).values() for reason in told]
    assert reasons
    assert not any("well" in reason.text or "<" in reason.text for reason in reasons)
