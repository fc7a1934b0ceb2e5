"""Scenes: words with what is true of them, drawn from every source alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flow_builder import VOCABULARY, random_flows, with_milestones
from lab_builder import ATTACK, CHORE, build_lab, network_flows
from part_builder import sketched_part
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.domain.word import ROLES
from thingwarden.encode.vocabulary import FIELD_INDEX, RHYTHM_FIELDS
from thingwarden.testing import FlowSpec, build_flows
from thingwarden.train.corpus import Capture, Part, constant_labels, load_lab, mask_labels
from thingwarden.train.scenes import (
    LEAD_WORDS,
    WINDOW_WORDS,
    LabShares,
    Sentence,
    Stage,
    cut_sentence,
    lone_words,
    sentences_from_flows,
)

SCAN = CLASS_INDEX[AttackClass.SCAN]


def _labelled(flows: FlowBatch, attack_class: AttackClass = AttackClass.BENIGN) -> FlowBatch:
    return replace(flows, labels=constant_labels(len(flows), attack_class))


def _sentence(attack_class: list[int]) -> Sentence:
    count = len(attack_class)
    fields = np.arange(count, dtype=np.int64)[:, None].repeat(2, axis=1).astype(np.uint8)
    return Sentence(
        fields=fields,
        attack_class=np.array(attack_class, dtype=np.int8),
        role=np.zeros(count, dtype=np.int8),
        pattern=np.arange(count),
    )


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage([sketched_part("attack", 1), sketched_part("benign-a", 2), sketched_part("benign-b", 3)], VOCABULARY)


def test_each_device_has_a_sentence_of_its_own() -> None:
    flows = _labelled(build_flows([FlowSpec(at_s=step, orig=f"192.168.1.{10 + step % 3}") for step in range(9)]))
    assert sorted(len(sentence) for sentence in sentences_from_flows(flows, VOCABULARY)) == [6, 6, 6]


def test_a_malicious_flow_makes_an_offender_of_one_and_a_target_of_the_other() -> None:
    flows = _labelled(build_flows([FlowSpec(orig="192.168.1.20"), FlowSpec(at_s=1.0, resp="192.168.1.20")]),
                      AttackClass.SCAN)  # fmt: skip
    roles = {tuple(ROLES[role] for role in sentence.role) for sentence in sentences_from_flows(flows, VOCABULARY)}
    assert roles == {("offender", "target", "offender", "target"), ("offender", "offender")}


def test_what_is_not_to_be_trusted_is_context_without_a_role() -> None:
    flows = mask_labels(
        _labelled(build_flows([FlowSpec(), FlowSpec(at_s=9.0)]), AttackClass.SCAN), np.array([True, False])
    )
    (sentence,) = sentences_from_flows(flows, VOCABULARY)
    assert sorted(sentence.attack_class.tolist()) == [-1, -1, SCAN, SCAN]
    assert not sentence.role[sentence.attack_class < 0].any()


def test_flows_without_labels_teach_nothing() -> None:
    assert sentences_from_flows(build_flows([FlowSpec()]), VOCABULARY) == []
    assert sentences_from_flows(_labelled(FlowBatch.empty()), VOCABULARY) == []


def test_equal_patterns_are_words_equal_in_pattern_and_label() -> None:
    specs = [FlowSpec(at_s=10.0 * step, resp_port=port) for step, port in enumerate([80, 80, 443])]
    benign, scans = (_labelled(build_flows(specs), label) for label in (AttackClass.BENIGN, AttackClass.SCAN))
    (one,), (other,) = (sentences_from_flows(flows, VOCABULARY) for flows in (benign, scans))
    assert len(np.unique(one.pattern)) == 4
    assert not set(one.pattern.tolist()) & set(other.pattern.tolist())


def test_a_short_sentence_is_not_cut() -> None:
    sentence = _sentence([0] * WINDOW_WORDS)
    assert cut_sentence(sentence, np.random.default_rng(0)) is sentence


def test_a_cut_shows_an_attack_from_a_little_before_it_begins() -> None:
    labels = [0] * 3000
    labels[1500:1510] = [1] * 10
    for seed in range(30):
        cut = cut_sentence(_sentence(labels), np.random.default_rng(seed))
        first = int(np.flatnonzero(cut.attack_class > 0)[0])
        assert len(cut) == WINDOW_WORDS and first < LEAD_WORDS


def test_cuts_of_a_benign_sentence_fall_anywhere() -> None:
    sentence = _sentence([0] * (WINDOW_WORDS + 3))
    firsts = {int(cut_sentence(sentence, np.random.default_rng(seed)).pattern[0]) for seed in range(60)}
    assert firsts == {0, 1, 2, 3}


def test_native_windows_come_from_every_capture(stage: Stage) -> None:
    sentences = stage.native(np.random.default_rng(0), 40)
    assert len(sentences) == 40
    assert all(1 < len(sentence) <= WINDOW_WORDS for sentence in sentences)
    assert {int(value) > 0 for sentence in sentences for value in np.unique(sentence.attack_class)} == {True, False}


@pytest.mark.parametrize(("malicious_share", "sketch_share"), [(0.0, 0.5), (1.0, 0.5), (1.0, 1.0)])
def test_grafts_are_malicious_as_often_as_asked(stage: Stage, malicious_share: float, sketch_share: float) -> None:
    sentences = stage.grafted(
        np.random.default_rng(1), 6, malicious_share=malicious_share, sketch_share=sketch_share
    )  # fmt: skip
    assert len(sentences) == 6
    has_attack = [bool((sentence.attack_class > 0).any()) for sentence in sentences]
    assert any(has_attack) == (malicious_share > 0)


def test_without_a_recorded_attack_segments_are_sketched() -> None:
    stage = Stage([sketched_part("benign", 5)], VOCABULARY)
    sentences = stage.grafted(np.random.default_rng(2), 6, malicious_share=1.0, sketch_share=0.0)
    assert any((sentence.attack_class > 0).any() for sentence in sentences)


def test_a_seed_draws_the_same_scenes(stage: Stage) -> None:
    one, two = (stage.grafted(np.random.default_rng(4), 3, malicious_share=0.5, sketch_share=0.5) for _ in range(2))
    assert all(np.array_equal(a.fields, b.fields) for a, b in zip(one, two, strict=True))


def test_lone_words_have_no_rhythm(stage: Stage) -> None:
    sentences = stage.lone(np.random.default_rng(3), 40)
    rhythm = [FIELD_INDEX[name] for name in RHYTHM_FIELDS]
    assert len(sentences) == 40 and {len(sentence) for sentence in sentences} == {2}
    assert not any(sentence.fields[:, rhythm].any() for sentence in sentences)
    assert all(sentence.fields[:, 0].tolist() == [1, 2] for sentence in sentences)


def test_lone_words_keep_the_label_of_their_own_flow() -> None:
    flows = random_flows(1, 20)
    benign, scans = constant_labels(20, AttackClass.BENIGN), constant_labels(20, AttackClass.SCAN)
    is_scan = np.arange(20) % 3 == 0
    labels = replace(
        benign,
        malicious=np.where(is_scan, scans.malicious, benign.malicious),
        attack_class=np.where(is_scan, scans.attack_class, benign.attack_class),
    )
    sentences = lone_words(replace(flows, labels=labels), VOCABULARY)
    assert [sentence.attack_class.tolist() for sentence in sentences] == [[SCAN if scan else 0] * 2 for scan in is_scan]


def _marked_network(number: int) -> Part:
    """A network whose every word says so: no recorded part has this port as originator's."""
    flows = network_flows(number, attacked=True)
    flows = replace(flows, resp_port=np.full(len(flows), MARK_PORT, dtype=np.uint16))
    name = f"net-{number:05d}"
    return Part(Capture(name=name, family="lab", group=name, kind="attack", paths=()), flows)


MARK_PORT = 47_808


def _marked_share(sentences: list[Sentence], mark: int) -> float:
    ports = [sentence.fields[:, FIELD_INDEX["resp_port"]] for sentence in sentences]
    return float(np.mean([(port == mark).mean() > 0.5 for port in ports]))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_simulated_stretches_are_drawn_as_often_as_asked(share: float) -> None:
    networks = [_marked_network(number) for number in range(4)]
    recorded = [part._replace(flows=replace(part.flows, resp_port=np.full(len(part.flows), 80, dtype=np.uint16)))
                for part in (sketched_part("attack", 1), sketched_part("benign", 2))]  # fmt: skip
    stage = Stage([*recorded, *networks], VOCABULARY, lab_shares=LabShares(native=share))
    lone = stage.lone(np.random.default_rng(0), 640)
    mark = sentences_from_flows(networks[0].flows.take(np.arange(1)), VOCABULARY)[0]
    port = int(mark.fields[0, FIELD_INDEX["resp_port"]])
    assert _marked_share(lone, port) == pytest.approx(share, abs=0.25)
    assert len(stage.native(np.random.default_rng(1), 12)) == 12


def test_without_recorded_parts_all_comes_from_the_lab(tmp_path: object) -> None:
    lab = load_lab(build_lab(tmp_path, networks=2, counted=0))  # type: ignore[arg-type]
    stage = Stage(lab.parts, VOCABULARY, lab_shares=LabShares())
    rng = np.random.default_rng(0)
    assert len(stage.native(rng, 5)) == len(stage.grafted(rng, 5, malicious_share=0.5, sketch_share=0.0)) == 5


def test_segments_cross_between_recorded_and_simulated_histories() -> None:
    """Whoever's history it is, an attack from either side can be in it."""
    networks, attack = [_marked_network(0)], sketched_part("attack", 1)
    stage = Stage([attack, sketched_part("benign", 2), *networks], VOCABULARY,
                  lab_shares=LabShares(native=0.5, history=0.5, segment=0.5))  # fmt: skip
    rng = np.random.default_rng(3)
    bases = {stage._draw_base(rng).name.partition("/")[0] for _ in range(60)}
    segments = {stage._draw_segment(rng, malicious=True, sketch_share=0.0).name for _ in range(60)}
    assert bases == {"attack", "benign", "net-00000"}
    assert segments == {"attack", f"net-00000/{ATTACK.decode()}"}
    benign = {stage._draw_segment(rng, malicious=False, sketch_share=0.0).name for _ in range(200)}
    assert f"net-00000/{CHORE.decode()}" in benign


def test_an_attacked_network_is_seen_attacked_often() -> None:
    network = _marked_network(0)
    quiet = network_flows(7, attacked=False, lives=120)
    quiet = replace(quiet, started_at_s=quiet.started_at_s + 1e6)
    flows = FlowBatch.concatenate([network.flows, quiet])
    stage = Stage([Part(network.capture, flows)], VOCABULARY)
    sentences = stage.native(np.random.default_rng(5), 160)
    attacked = sum(bool((sentence.attack_class > 0).any()) for sentence in sentences)
    assert 6 <= attacked < 60  # by chance alone, its 520 flows of 11,400 would be met in one stretch of four


def test_probes_carry_the_label_of_their_flow_and_do_not_count_as_spoken() -> None:
    flows = with_milestones(_labelled(random_flows(3, 80), AttackClass.SCAN))
    for sentence in sentences_from_flows(flows, VOCABULARY):
        assert sentence.spoken_count == len(sentence) - sentence.is_probe.sum()
        assert (sentence.attack_class == CLASS_INDEX[AttackClass.SCAN]).all()
    assert any(sentence.is_probe.any() for sentence in sentences_from_flows(flows, VOCABULARY))


@pytest.mark.parametrize("malicious_share", [0.0, 1.0])
def test_scenes_of_both_labels_have_probes(stage: Stage, malicious_share: float) -> None:
    drawn = stage.grafted(np.random.default_rng(0), 30, malicious_share=malicious_share, sketch_share=0.5)
    probed = np.concatenate([sentence.attack_class[sentence.is_probe] > 0 for sentence in drawn])
    assert (probed if malicious_share else ~probed).sum() > 20
