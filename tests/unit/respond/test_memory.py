"""What was harmless is counted by the minute and by the day, within a bound, and forgotten in time."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.respond import memory
from thingwarden.respond.memory import TrafficMemory
from thingwarden.testing import FlowSpec, build_flows

HOUR_S = 3600.0
BEGIN_S = 1_700_006_400.0  # a whole day and minute


def seen(kept: TrafficMemory, at_s: list[float], peers: list[str] | None = None) -> None:
    peers = peers or ["203.0.113.5"] * len(at_s)
    flows = build_flows([FlowSpec(at_s=0, orig="192.168.1.10", resp=peer, resp_port=443) for peer in peers])
    kept.observe(flows, np.arange(len(at_s)), np.array(at_s))
    kept.count()


def test_nothing_is_known_of_the_minute_that_an_incident_begins_in() -> None:
    kept = TrafficMemory()
    assert kept.before(BEGIN_S) is None
    seen(kept, [BEGIN_S + 1, BEGIN_S + 2])
    assert kept.before(BEGIN_S + 30) is None
    found = kept.before(BEGIN_S + 60)
    assert found is not None
    assert (found.flow_count.tolist(), found.over_s) == ([2.0], 60.0)


def test_the_latest_hour_is_remembered_by_the_minute() -> None:
    kept = TrafficMemory()
    for minute in range(90):
        seen(kept, [BEGIN_S + minute * 60.0])
    found = kept.before(BEGIN_S + 90 * 60.0)
    assert found is not None
    assert found.flow_count.tolist() == [60.0]
    assert found.over_s == HOUR_S
    earlier = kept.before(BEGIN_S + 45 * 60.0)
    assert earlier is not None
    assert earlier.flow_count.tolist() == [15.0]


def test_the_week_speaks_where_the_hour_is_silent() -> None:
    kept = TrafficMemory()
    seen(kept, [BEGIN_S + n * 10.0 for n in range(2400)])
    seen(kept, [BEGIN_S + 30 * HOUR_S], ["198.51.100.7"])
    found = kept.before(BEGIN_S + 31 * HOUR_S)
    assert found is not None
    assert found.flow_count.tolist() == [100.0, 1.0]
    assert found.over_s == 24 * HOUR_S


def test_a_week_later_it_is_forgotten() -> None:
    kept = TrafficMemory()
    seen(kept, [BEGIN_S])
    seen(kept, [BEGIN_S + 8 * 24 * HOUR_S], ["198.51.100.7"])
    found = kept.before(BEGIN_S + 9 * 24 * HOUR_S)
    assert found is not None
    assert found.flow_count[0] == 0.0


def test_a_clock_set_back_loses_nothing() -> None:
    kept = TrafficMemory()
    seen(kept, [BEGIN_S + 600.0])
    seen(kept, [BEGIN_S])
    found = kept.before(BEGIN_S + 700.0)
    assert found is not None
    assert found.flow_count.tolist() == [2.0]


def test_of_too_many_kinds_the_rarest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_KINDS", 8)
    kept = TrafficMemory()
    for _ in range(3):
        seen(kept, [BEGIN_S] * 4, [f"203.0.113.{n}" for n in range(4)])
    seen(kept, [BEGIN_S] * 40, [f"198.51.100.{n}" for n in range(40)])
    assert len(kept) <= 8
    found = kept.before(BEGIN_S + 120.0)
    assert found is not None
    assert sorted(found.flow_count.tolist())[-4:] == [3.0] * 4


def test_what_is_not_counted_yet_is_counted_before_it_is_asked_for() -> None:
    kept = TrafficMemory()
    flows = build_flows([FlowSpec(at_s=0, orig="192.168.1.10", resp="203.0.113.5", resp_port=443)] * 3)
    kept.observe(flows, np.arange(3), np.full(3, BEGIN_S))
    assert len(kept) == 0
    found = kept.before(BEGIN_S + 60.0)
    assert found is not None and found.flow_count.tolist() == [3.0]
    kept.observe(flows, np.arange(3), np.full(3, BEGIN_S + 61.0))
    again = kept.before(BEGIN_S + 60.0)
    assert again is not None and again.flow_count.tolist() == [3.0]


def test_how_flows_are_told_changes_nothing() -> None:
    at_s = [BEGIN_S + n * 7.0 for n in range(200)]
    whole, parts = TrafficMemory(), TrafficMemory()
    seen(whole, at_s)
    for start in range(0, 200, 9):
        seen(parts, at_s[start : start + 9])
    one, other = whole.before(BEGIN_S + 2000.0), parts.before(BEGIN_S + 2000.0)
    assert one is not None and other is not None
    assert one.flow_count.tolist() == other.flow_count.tolist()
