"""Televisions and voice assistants: much by day, little by night."""

from __future__ import annotations

import numpy as np
import pytest

from play_builder import build_hosts, contacts, run_hosts


@pytest.mark.parametrize("kind", ["tv", "voice-assistant"])
def test_more_is_streamed_in_the_evening_than_at_night(kind: str) -> None:
    evening, night = (run_hosts(build_hosts([kind]), duration_s=1800.0, starts_at_hour=hour) for hour in (19.0, 2.0))
    assert evening.resp_bytes.sum() > 3 * night.resp_bytes.sum()


def test_sessions_are_held_for_an_hour_and_questions_are_short() -> None:
    flows = run_hosts(build_hosts(["voice-assistant"]), duration_s=7200.0)
    tls = flows.take(np.flatnonzero(flows.resp_port == 443))
    assert tls.duration_s.max() > 1500.0
    assert np.median(tls.duration_s) < 60.0


def test_some_televisions_stream_by_datagrams() -> None:
    flows = run_hosts(build_hosts(["tv"] * 8, seed=4, breadth=1.0), duration_s=150.0)
    fat = flows.take(np.flatnonzero(flows.resp_bytes > 50_000))
    assert {contact[0] for contact in contacts(fat)} == {6, 17}
