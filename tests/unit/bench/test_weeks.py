"""Counting false incidents of a shipped model: only networks to count in, every one of them, told in a report."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab_builder import build_lab
from thingwarden.bench.weeks import count_weeks, describe_thresholds, write_weeks
from thingwarden.config import PACKAGED_MODEL
from thingwarden.domain.errors import InputError
from thingwarden.model.artifact import load_artifact


def test_every_network_to_count_in_is_judged_by_the_thresholds_that_ship(tmp_path: Path) -> None:
    artifact = load_artifact(PACKAGED_MODEL)
    corpus = build_lab(tmp_path / "lab", networks=1, counted=3)
    said: list[tuple[int, int]] = []
    figures = count_weeks(artifact, corpus, tmp_path / "kept", lambda done, total: said.append((done, total)))
    assert said == [(1, 3), (2, 3), (3, 3)]
    assert figures["networks"] == 3
    assert figures["device_weeks"] == pytest.approx(3 * 3 * 0.25 / 7)
    thresholds = describe_thresholds(artifact.calibration)
    assert f"{artifact.calibration.evidence_nats:.2f}" in thresholds
    text = write_weeks(figures, thresholds, tmp_path / "out").read_text(encoding="utf-8")
    assert "**MISSED**" in text, "half a device-week is not 200"
    assert "| camera |" in text and "| firmware_update | 3 |" in text


def test_a_corpus_to_train_on_is_refused(tmp_path: Path) -> None:
    corpus = build_lab(tmp_path / "lab", networks=1, counted=0)
    with pytest.raises(InputError, match="no network to count in"):
        count_weeks(load_artifact(PACKAGED_MODEL), corpus, tmp_path / "kept", lambda _done, _total: None)
