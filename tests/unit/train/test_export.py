"""What is exported computes what was trained; int8 decides as float does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from flow_builder import VOCABULARY, join_chunks, random_flows
from thingwarden.domain.word import WordBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import FIELD_NAMES

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from model_builder import ATTENTION, build_artifact, build_model  # noqa: E402
from thingwarden.model.scorer import FlowScorer  # noqa: E402
from thingwarden.train.export import export_habit, export_network, measure_ranges  # noqa: E402
from thingwarden.train.network import FlowLanguageModel, word_log_likelihood  # noqa: E402

CONN_STATE = VOCABULARY.field_names.index("conn_state")


@pytest.fixture(scope="module")
def words() -> WordBatch:
    encoded = join_chunks(SentenceEncoder(VOCABULARY).encode(random_flows(1, 400, hosts=3)))
    return encoded.take(encoded.device == 1)


def _ids(words: WordBatch) -> torch.Tensor:
    return torch.from_numpy(words.fields[None].astype(np.int64))


@pytest.mark.parametrize(
    "reader", [{"architecture": "recurrent"}, ATTENTION], ids=lambda reader: reader["architecture"]
)
def test_float_onnx_equals_torch(words: WordBatch, tmp_path: Path, reader: dict[str, Any]) -> None:
    model = build_model(reader=reader)
    scores = FlowScorer(build_artifact(tmp_path, model)).score(words)
    with torch.no_grad():
        outputs = model(_ids(words), model.initial_state(1))
    for found, logits in (
        (scores.class_probability, outputs.attack_class),
        (scores.ton_probability, outputs.ton_class),
        (scores.role_probability, outputs.role),
    ):
        np.testing.assert_allclose(found, torch.softmax(logits[0], dim=-1).numpy(), atol=1e-4)


def test_what_is_usual_is_exported_as_nats_per_bucket(words: WordBatch) -> None:
    model = build_model()
    summary = np.random.default_rng(1).normal(size=(3, model.shape.state_width)).astype(np.float32)
    session = onnxruntime.InferenceSession(export_habit(model), providers=["CPUExecutionProvider"])
    nats, offsets = session.run(None, {"summary": summary})
    opening = words.fields[~words.is_close][:1].astype(np.int64)
    told = np.flatnonzero(offsets >= 0)
    found = nats[:, offsets[told] + opening[0, told]]
    with torch.no_grad():
        logits = model.expect_openings(torch.from_numpy(summary))
    ids = torch.from_numpy(opening).expand(3, -1)
    expected = -word_log_likelihood(logits, ids, model.shape.sizes).numpy()[:, told]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    untold = [name == "kind" or outcome for name, outcome in zip(FIELD_NAMES, model.shape.is_outcome, strict=True)]
    assert (offsets < 0).tolist() == untold


def test_int8_decides_as_float_does_once_trained(words: WordBatch, tmp_path: Path) -> None:
    model = _briefly_trained(build_model(), words)
    exact = FlowScorer(build_artifact(tmp_path / "float", model)).score(words)
    quantised = FlowScorer(build_artifact(tmp_path / "int8", model, words=words)).score(words)
    agree = exact.class_probability.argmax(axis=1) == quantised.class_probability.argmax(axis=1)
    assert agree.mean() > 0.98
    assert len(np.unique(exact.class_probability.argmax(axis=1))) > 1


def _briefly_trained(model: FlowLanguageModel, words: WordBatch) -> FlowLanguageModel:
    """Tell failed contacts from the others: a question that the words answer."""
    words = words.take(slice(0, 96))
    target = torch.from_numpy(np.isin(words.fields[:, CONN_STATE], (1, 4, 11)).astype(np.int64))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(20):
        logits = model(_ids(words), model.initial_state(1)).attack_class[0]
        loss = torch.nn.functional.cross_entropy(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def test_int8_is_smaller(words: WordBatch) -> None:
    model = build_model()
    assert len(export_network(model, words.fields[None])) < len(export_network(model))


def test_ranges_span_what_each_layer_is_given(words: WordBatch) -> None:
    model = build_model()
    ranges = measure_ranges(model, words.fields[None])
    linear = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    assert set(ranges) == {*linear} - {model.habit, model.habit_head}  # they are asked of no single word
    assert ranges[model.word_out][0] == 0.0  # a squared ReLU is never negative
    assert all(low <= 0.0 < high for low, high in ranges.values())
