"""The clock between the stages counts every word, and leaves what the product finds as it is."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.bench.live_traffic import SCENARIOS, make_traffic
from thingwarden.bench.streaming import STAGES, Detector, Stream, summarise
from thingwarden.config import PACKAGED_MODEL
from thingwarden.model.artifact import Artifact, load_artifact


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return load_artifact(PACKAGED_MODEL)


def test_every_word_of_every_kind_is_timed_once_in_every_stage(artifact: Artifact) -> None:
    flows = make_traffic(SCENARIOS[0], 400)
    words = list(Detector.fresh(artifact).encoder.encode(flows))
    stream = Detector.fresh(artifact).stream(flows, 50)
    assert sum(stream.words) == sum(len(batch) for batch in words)
    assert stream.kinds["close"] == stream.kinds["open"] == sum(int(batch.is_close.sum()) for batch in words)
    assert stream.kinds["probe"] == sum(int(batch.is_probe.sum()) for batch in words) > 0
    assert stream.seconds.shape == (len(stream.words), len(STAGES))
    assert (stream.seconds > 0).all()
    assert stream.seconds.sum() < stream.wall_s + 0.1


def test_the_size_of_batches_does_not_change_what_is_found(artifact: Artifact) -> None:
    flows = make_traffic(SCENARIOS[-1], 600)
    found = {Detector.fresh(artifact).stream(flows, words).incident_count for words in (20, 200, 5000)}
    assert len(found) == 1


def test_a_detector_remembers_from_one_stream_to_the_next(artifact: Artifact) -> None:
    detector = Detector.fresh(artifact)
    for first in (0, 500):
        detector.stream(make_traffic(SCENARIOS[0], 200, device_count=10, first_host=first))
    assert 15 <= len(detector.encoder.devices) <= 24


def _stream(encode_s: float, score_s: float) -> Stream:
    stage_s = [(1.0, 0.0, 0.0)] + [(encode_s, score_s, 0.0)] * 19
    return Stream(words=[100] * 20, stage_s=stage_s, flow_count=500, wall_s=40.0)


def test_rates_are_of_warm_batches_with_their_share_of_the_preparation() -> None:
    summary = summarise([_stream(0.1, 0.3), _stream(0.1, 0.1), _stream(0.1, 0.2)])
    warm, prepared_s = 18, 0.9
    rates = [1800 / (warm * (0.1 + score_s) + prepared_s) for score_s in (0.3, 0.1, 0.2)]
    assert summary["words_per_s_runs"] == pytest.approx(rates)
    assert summary["words_per_s"] == pytest.approx(np.median(rates))
    assert summary["flows_per_s"] == pytest.approx(np.median(rates) / 4)
    assert summary["words_per_wall_s_runs"] == [50.0] * 3
    assert summary["stage_ratios"] == pytest.approx({"encode": 0.3 / 0.9, "score": 0.6 / 0.9, "judge": 0.0})
    assert summary["batch_ms"]["p50"] == pytest.approx(300.0)
