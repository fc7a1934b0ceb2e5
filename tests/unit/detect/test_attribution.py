"""Which words are asked about, what is put in their place, and what is told of the answers."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from thingwarden.detect.attribution import (
    LEAST_NATS,
    LEAST_USUAL,
    MOST_CLASSES,
    MOST_REASONS,
    MOST_WITNESSES,
    OTHER,
    SAME_PEER,
    SAME_SERVICE,
    Effect,
    Question,
    choose_witnesses,
    classes_to_ask,
    merge_reasons,
    next_topic,
    rank_topics,
    split_earlier,
    tell_reasons,
    usual_words,
)
from thingwarden.detect.tally import NO_SIGHTING, EvidenceColumns
from thingwarden.domain.incident import Reason
from thingwarden.domain.taxonomy import CLASS_INDEX, CLASSES, AttackClass
from thingwarden.testing import FlowSpec, build_flows

SCAN, C2, DOS = (CLASS_INDEX[item] for item in (AttackClass.SCAN, AttackClass.C2, AttackClass.DOS))


def evidence(flow: list[int], gain: list[int], attack_class: int = SCAN) -> EvidenceColumns:
    count = len(flow)
    return EvidenceColumns(
        flow=np.array(flow),
        is_orig=np.ones(count, dtype=np.bool_),
        is_close=np.ones(count, dtype=np.bool_),
        is_probe=np.zeros(count, dtype=np.bool_),
        known_at_s=np.arange(count, dtype=np.float64),
        log_odds=np.full(count, 5.0),
        attack_class=np.full(count, attack_class, dtype=np.int8),
        is_first=np.ones(count, dtype=np.bool_),
        gain=np.array(gain),
        strange=np.zeros(count, dtype=np.int64),
        calm=np.zeros(count, dtype=np.int64),
        number=np.arange(11, 11 + count),
        sighting=np.full(count, NO_SIGHTING),
    )


def effect(nats: float, text: str = "said", flow: int = 0) -> Effect:
    return Effect(nats=nats, text=text, flow=flow)


def reason(topic: str, attack_class: AttackClass) -> Reason:
    return Reason(topic=topic, text=topic, nats=1.0, together_nats=1.0, attack_class=attack_class, flow=0)


def test_witnesses_weigh_most_are_of_different_flows_and_late_among_equals() -> None:
    chosen = choose_witnesses(evidence([7, 7, 8, 9, 5, 6], [50, 60, 10, 60, 60, 20]))
    assert [(witness.flow, witness.number) for witness in chosen] == [(5, 15), (9, 14), (7, 12)]
    assert len(chosen) == MOST_WITNESSES


def test_a_question_names_the_words_it_is_about() -> None:
    witnesses = choose_witnesses(evidence([3], [9]))
    at = datetime(2026, 1, 2, tzinfo=UTC)
    question = Question(
        incident_id="0" * 12, device=1, role=1, attack_class=AttackClass.SCAN, at=at, witnesses=witnesses
    )
    assert question.witnesses[0].is_orig and question.witnesses[0].flow == 3


def test_the_most_frequent_harmless_answer_stands_in_topic_by_topic() -> None:
    words = np.full((2, 4), 9, dtype=np.uint8)
    usual = np.array([[1, 2, 5, 0], [1, 2, 6, 0], [1, 3, 6, 0], [2, 2, 6, 0]], dtype=np.uint8)
    others = usual_words(words, np.array([1, 2]), usual, np.ones(4, dtype=np.int64), {"pair": [0, 1], "one": [2]})
    assert others[0].tolist() == [1, 2, 6, 0], "the pair stays a pair; no topic, no answer"
    assert others[1].tolist() == [0, 0, 0, 0], "nothing harmless of its kind"
    few = usual_words(words, np.array([1, 1]), usual[: LEAST_USUAL - 1], np.ones(3, dtype=np.int64), {"one": [2]})
    assert not few.any()


def test_earlier_words_are_told_apart_by_what_they_share_with_the_witness() -> None:
    flows = build_flows(
        [
            FlowSpec(resp="203.0.113.1", resp_port=23),
            FlowSpec(resp="203.0.113.9", resp_port=443),
            FlowSpec(resp="203.0.113.2", resp_port=23),
            FlowSpec(resp="198.51.100.1", resp_port=53, proto="udp"),
            FlowSpec(resp="203.0.113.9", resp_port=23),
        ]
    )
    flow = np.array([0, 0, 1, 2, 3, 4, 4])
    parts = {part.topic: part for part in split_earlier(flows, flow, np.ones(7, dtype=np.bool_))}
    assert np.flatnonzero(parts[SAME_PEER].rows).tolist() == [2]
    assert np.flatnonzero(parts[SAME_SERVICE].rows).tolist() == [0, 1, 3]
    assert np.flatnonzero(parts[OTHER].rows).tolist() == [4]
    assert parts[SAME_PEER].text == "1 earlier flow with 203.0.113.9"
    assert parts[SAME_SERVICE].text == "2 earlier flows to other addresses on tcp/23"
    assert not any(part.rows[-2:].any() for part in parts.values()), "the witness's own opening is no earlier flow"


def test_a_word_without_a_past_has_no_earlier_parts() -> None:
    assert split_earlier(build_flows([FlowSpec()]), np.array([0, 0]), np.ones(2, dtype=np.bool_)) == []


def test_topics_rank_by_their_mean_over_all_witnesses() -> None:
    effects = [{"a": effect(3.0), "b": effect(2.0)}, {"b": effect(2.0), "c": effect(0.1)}]
    assert rank_topics(effects) == ["b", "a", "c"]


def test_a_topic_is_told_only_for_what_it_adds() -> None:
    assert next_topic({"a": 3.0, "b": 3.1}, told_nats=2.5) == "b"
    assert next_topic({"a": 3.0}, told_nats=3.0 - LEAST_NATS / 2) is None
    assert next_topic({}, told_nats=0.0) is None


def test_a_reason_speaks_in_the_words_of_the_witness_that_it_moves_most() -> None:
    effects = [{"pace": effect(1.0, "slow", 4)}, {"pace": effect(3.0, "fast", 5)}, {}]
    (told,) = tell_reasons(AttackClass.DOS, ["pace"], effects, [2.0])
    assert (told.text, told.flow, told.together_nats) == ("fast", 5, 2.0)
    assert told.nats == (1.0 + 3.0) / 3


def test_the_main_class_comes_first_and_no_more_than_the_bound_is_told() -> None:
    by_class = {
        SCAN: tuple(reason(f"s{n}", AttackClass.SCAN) for n in range(4)),
        C2: tuple(reason(f"c{n}", AttackClass.C2) for n in range(3)),
    }
    merged = merge_reasons(by_class, C2)
    assert [item.topic for item in merged] == ["c0", "c1", "c2", "s0", "s1"]
    assert len(merged) == MOST_REASONS


def test_each_class_is_asked_about_once_and_only_within_reach() -> None:
    counts = np.zeros(len(CLASSES), dtype=np.int64)
    counts[[SCAN, C2, DOS]] = [9, 3, 50]
    words = evidence([1, 2], [5, 5])
    assert classes_to_ask(words, counts, [], least_count=4) == [SCAN], "the others have no word within reach"
    assert classes_to_ask(words, counts, [SCAN], least_count=4) == []
    assert classes_to_ask(words, counts, list(range(1, MOST_CLASSES + 1)), least_count=1) == []
