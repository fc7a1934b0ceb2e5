"""The detector's process tells its sections in order, and each holds at least what came before."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from thingwarden.bench.detector_memory import DEVICE_COUNT, FLOWS_AT_HAND, make_life, measure_memory
from thingwarden.config import PACKAGED_MODEL
from thingwarden.domain.errors import RequestError


def test_a_life_meets_every_device_and_then_new_peers_with_every_flow() -> None:
    life = list(make_life(4, 2))
    ends = [(float(flows.started_at_s[0]), float(flows.started_at_s[-1])) for flows in life]
    assert all(before[0] < after[0] for before, after in pairwise(ends))
    met = {low for flows in life for low in flows.orig_address[:, 1].tolist()}
    assert 0.95 * DEVICE_COUNT <= len(met) <= DEVICE_COUNT
    services = np.stack([life[-1].resp_address[:, 1], life[-1].resp_port.astype(np.uint64)], axis=1)
    assert len(np.unique(services, axis=0)) > 0.99 * FLOWS_AT_HAND


def test_sections_follow_each_other() -> None:
    sections = measure_memory(PACKAGED_MODEL, rounds=(4, 1))
    names = ["python", "numpy", "onnxruntime", "thingwarden", "model", "1,000 devices", "full tables"]
    assert [section.name for section in sections] == names
    peaks = [section.peak_bytes for section in sections]
    assert peaks == sorted(peaks)
    assert all(0 < section.resident_bytes <= section.peak_bytes for section in sections)


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="manifest"):
        measure_memory(tmp_path, rounds=(1, 0))
