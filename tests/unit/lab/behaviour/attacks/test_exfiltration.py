"""Data carried out."""

from __future__ import annotations

import numpy as np
import pytest

from lab_act_builder import begun_at_s, perform, states_of


@pytest.mark.parametrize("way", ["http", "tls", "messages"])
def test_megabytes_go_out_and_little_comes_back(way: str) -> None:
    flows = perform("exfiltrate_bulk", {"way": way, "part_bytes": 1_500_000, "count": 2})
    assert states_of(flows) == ["SF", "SF"]
    assert flows.orig_bytes.min() >= 1_500_000
    assert flows.resp_bytes.max() < 6_000


def test_parts_share_a_kept_connection() -> None:
    flows = perform("exfiltrate_bulk", {"part_bytes": 200_000, "count": 5, "period_s": 1.0, "is_kept": True})
    assert len(flows) == 1
    assert flows.orig_bytes[0] >= 1_000_000


def test_drip_keeps_its_period() -> None:
    flows = perform("exfiltrate_slow", {"period_s": 20.0, "jitter": 0.0, "part_bytes": 3_000}, lasts_s=300.0)
    assert len(flows) == 15
    assert np.diff(begun_at_s(flows)) == pytest.approx(20.0, abs=0.5)
    assert flows.orig_bytes.max() < 3_300


def test_pieces_slow_an_upload_down() -> None:
    fast, slow = (
        perform("exfiltrate_bulk", {"part_bytes": 100_000, "count": 1, "piece_bytes": 4_000, "piece_gap_s": gap_s})
        for gap_s in (0.0, 0.2)
    )
    assert fast.duration_s[0] < 1.0
    assert slow.duration_s[0] == pytest.approx(5.0, rel=0.1)


def test_upload_ends_at_the_bound() -> None:
    settings = {"part_bytes": 10_000_000, "count": 1, "piece_bytes": 2_000, "piece_gap_s": 0.2}
    flows = perform("exfiltrate_bulk", settings, lasts_s=10.0)
    assert flows.duration_s[0] < 12.0
    assert flows.orig_bytes[0] < 200_000


def test_nobody_listens_and_the_device_goes_on() -> None:
    settings = {"targets": ("198.51.100.200",), "period_s": 10.0, "jitter": 0.0, "count": 4}
    flows = perform("exfiltrate_slow", {**settings, "count": 10}, lasts_s=60.0)
    assert states_of(flows) == ["S0"] * 6
