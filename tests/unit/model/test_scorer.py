"""The scorer on a small network: streaming is exact, sentences do not leak, strangers are refused."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from flow_builder import VOCABULARY, join_chunks, random_flows, with_milestones
from thingwarden.domain.errors import ArtifactError
from thingwarden.domain.word import Scores, WordBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import FIELD_NAMES
from thingwarden.model.artifact import Artifact
from thingwarden.model.scorer import SLICE_WORDS, FlowScorer

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module", params=["recurrent", "attention"])
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    pytest.importorskip("torch")
    from model_builder import ATTENTION, build_artifact, build_model

    model = build_model(reader=ATTENTION) if request.param == "attention" else None
    return build_artifact(tmp_path_factory.mktemp("model"), model)


@pytest.fixture(scope="module")
def words() -> WordBatch:
    return join_chunks(SentenceEncoder(VOCABULARY).encode(random_flows(1, 900, hosts=3)))


def in_chunks(scorer: FlowScorer, words: WordBatch, chunk_words: int) -> Scores:
    parts = [scorer.score(words.take(slice(at, at + chunk_words))) for at in range(0, len(words), chunk_words)]
    return Scores(**{item.name: np.concatenate([getattr(p, item.name) for p in parts]) for item in fields(Scores)})


def assert_close(one: Scores, other: Scores) -> None:
    for item in fields(Scores):
        np.testing.assert_allclose(getattr(one, item.name), getattr(other, item.name), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunk_words", [7, 256, 257, 5000])
def test_the_cut_of_a_chunk_changes_no_score(artifact: Artifact, words: WordBatch, chunk_words: int) -> None:
    assert np.bincount(words.device).max() > 2 * SLICE_WORDS
    whole = FlowScorer(artifact).score(words)
    assert whole.class_probability.std(axis=0).max() > 0.01
    assert_close(in_chunks(FlowScorer(artifact), words, chunk_words), whole)


def test_one_word_at_a_time_gives_the_same_scores(artifact: Artifact, words: WordBatch) -> None:
    few = words.take(slice(0, 200))
    assert_close(in_chunks(FlowScorer(artifact), few, 1), FlowScorer(artifact).score(few))


def test_the_order_of_devices_within_a_chunk_changes_no_score(artifact: Artifact, words: WordBatch) -> None:
    by_device = np.argsort(words.device, kind="stable")
    whole, sorted_scores = FlowScorer(artifact).score(words), FlowScorer(artifact).score(words.take(by_device))
    for item in fields(Scores):
        np.testing.assert_allclose(
            getattr(sorted_scores, item.name), getattr(whole, item.name)[by_device], atol=1e-5, rtol=1e-5
        )


def test_a_sentence_that_starts_knows_nothing_of_the_one_before(artifact: Artifact, words: WordBatch) -> None:
    one_device = words.take(words.device == 1)
    starts = np.zeros(len(one_device), dtype=bool)
    starts[[0, 30]] = True
    scorer = FlowScorer(artifact)
    together = scorer.score(replace(one_device, starts_sentence=starts))
    alone = FlowScorer(artifact).score(one_device.take(slice(30, None)))
    np.testing.assert_allclose(together.class_probability[30:], alone.class_probability, atol=1e-5)
    carried = FlowScorer(artifact).score(replace(one_device, starts_sentence=np.zeros_like(starts)))
    assert np.abs(carried.class_probability[30] - together.class_probability[30]).max() > 1e-4


def test_words_without_time_do_not_know_each_other(artifact: Artifact) -> None:
    flows = replace(random_flows(2, 40), is_timed=False)
    whole = FlowScorer(artifact).score(join_chunks(SentenceEncoder(VOCABULARY).encode(flows)))
    reverse = flows.take(np.arange(40)[::-1])
    mirrored = FlowScorer(artifact).score(join_chunks(SentenceEncoder(VOCABULARY).encode(reverse)))
    pairs = whole.class_probability.reshape(40, 2, -1)
    np.testing.assert_allclose(mirrored.class_probability.reshape(40, 2, -1)[::-1], pairs, atol=1e-5)


@pytest.fixture(scope="module")
def probed() -> WordBatch:
    words = join_chunks(SentenceEncoder(VOCABULARY).encode(with_milestones(random_flows(1, 900, hosts=3))))
    assert words.is_probe.sum() > 500
    return words


def test_probes_change_no_other_score(artifact: Artifact, probed: WordBatch) -> None:
    said = ~probed.is_probe
    with_them, without = FlowScorer(artifact), FlowScorer(artifact)
    scores, plain = with_them.score(probed), without.score(probed.take(said))
    assert_close(_take_scores(scores, said), plain)
    np.testing.assert_allclose(with_them.states(), without.states(), atol=1e-5)
    assert (scores.surprise_nats[~said] == 0.0).all()


def test_a_probe_is_scored_as_a_word_that_came_then_would_be(artifact: Artifact, probed: WordBatch) -> None:
    scores = FlowScorer(artifact).score(probed)
    remembered = replace(probed, is_probe=np.zeros(len(probed), dtype=bool))
    for probe in np.flatnonzero(probed.is_probe)[::60]:
        before = np.flatnonzero(~probed.is_probe[:probe] & (probed.device[:probe] == probed.device[probe]))
        last = FlowScorer(artifact).score(remembered.take(np.append(before, probe)))
        for name in ("class_probability", "ton_probability", "role_probability"):
            np.testing.assert_allclose(getattr(scores, name)[probe], getattr(last, name)[-1], atol=1e-5)


@pytest.mark.parametrize("chunk_words", [1, 7, 257, 600])
def test_the_cut_of_a_chunk_changes_no_probe(artifact: Artifact, probed: WordBatch, chunk_words: int) -> None:
    few = probed if chunk_words > 7 else probed.take(slice(0, 300))
    assert_close(in_chunks(FlowScorer(artifact), few, chunk_words), FlowScorer(artifact).score(few))


def test_the_order_of_devices_changes_no_probe(artifact: Artifact, probed: WordBatch) -> None:
    by_device = np.argsort(probed.device, kind="stable")
    scores = FlowScorer(artifact).score(probed.take(by_device))
    assert_close(scores, _take_scores(FlowScorer(artifact).score(probed), by_device))


def _take_scores(scores: Scores, rows: npt.NDArray[np.generic]) -> Scores:
    return Scores(**{item.name: getattr(scores, item.name)[rows] for item in fields(Scores)})


def test_reset_forgets_every_device(artifact: Artifact, words: WordBatch) -> None:
    middle = words.take(np.flatnonzero(~words.starts_sentence)[:100])
    scorer = FlowScorer(artifact)
    first = scorer.score(middle)
    again = scorer.score(middle)
    assert np.abs(first.class_probability - again.class_probability).max() > 1e-4
    scorer.reset()
    assert_close(scorer.score(middle), first)


def test_many_devices_get_a_state_each(artifact: Artifact, words: WordBatch) -> None:
    word = words.take(slice(0, 1))
    many = word.take(np.zeros(300, dtype=np.int64))
    scorer = FlowScorer(artifact)
    scores = scorer.score(replace(many, device=np.arange(300, dtype=np.int32)))
    assert np.ptp(scores.class_probability, axis=0).max() < 1e-5
    assert len(scorer.states()) >= 300
    assert 4 * sum(scorer.state_widths) < scorer.state_bytes <= 64 * 1024
    assert scorer.states().shape[1] == scorer.state_widths[1]


def test_words_of_another_width_are_refused(artifact: Artifact, words: WordBatch) -> None:
    narrow = replace(words, fields=words.fields[:, :-1])
    with pytest.raises(ArtifactError, match=f"reads {len(FIELD_NAMES)} fields, the encoder gives") as refused:
        FlowScorer(artifact).score(narrow)
    assert refused.value.exit_code == 4


def test_bytes_that_are_no_network_are_refused_by_name(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"model\.onnx: not a network"):
        FlowScorer(replace(artifact, path=tmp_path, network=b"not a network"))


def test_a_network_with_other_inputs_is_refused(artifact: Artifact) -> None:
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "foreign", [value], [out])
    foreign = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(ArtifactError, match="not a network that runs here"):
        FlowScorer(replace(artifact, network=foreign.SerializeToString()))
