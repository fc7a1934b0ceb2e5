"""An order is found among what the watch said, and what it did to an attack among what arrived."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from thingwarden.bench.latency import STAGES, Load, _answer, _restriction, measure
from thingwarden.domain.errors import ConfigError

MAC = "02:77:ee:00:00:01"
LOAD = Load(kind="flood", attack_count=1, packets_per_s=400.0, attack_s=1.0, flows_per_s=50.0)


def order(name: str, act: str, status: str = "applied", mac: str = MAC) -> list[dict[str, Any]]:
    spans = {f"{stage}_ms": 1.0 for stage in STAGES}
    return [
        {"type": "decision", "decision_id": name, "act": act, "target": {"device": {"mac": mac}}},
        {"type": "receipt", "decision_id": name, "status": status},
        {"type": "course", "decision_id": name, "packet_at_s": 100.0, **spans},
    ]


def test_the_first_restriction_that_was_carried_out_counts() -> None:
    records = [
        *order("other", "rate_limit", mac="02:77:ee:00:00:02"),
        *order("told", "notify"),
        *order("failed", "block_flow", "failed"),
        *order("cut", "rate_limit"),
        *order("later", "quarantine"),
    ]
    found = _restriction(records, MAC)
    assert found is not None
    assert (found.act, sum(found.stages_ms.values())) == ("rate_limit", 6.0)


def test_an_order_without_a_device_is_nobodys() -> None:
    records = order("peer", "block_peer")
    records[0]["target"]["device"] = None
    assert _restriction(records, MAC) is None


def test_the_first_packet_that_never_arrived_was_dropped() -> None:
    found = _restriction(order("cut", "rate_limit"), MAC)
    assert found is not None
    sent_s = 99.99 + np.arange(40) * 1e-3  # the tenth after it began completes the evidence
    arrived = np.arange(40) < 20
    arrived[30] = True  # a rate limit lets one through
    answer = _answer(found, sent_s, arrived)
    assert answer.evidence_ms == pytest.approx(10.0)
    assert answer.answered_ms == pytest.approx(6.0)
    assert answer.dropped_ms == pytest.approx(10.0)


def test_what_was_lost_before_the_order_was_not_cut_by_it() -> None:
    found = _restriction(order("cut", "rate_limit"), MAC)
    assert found is not None
    sent_s = 99.99 + np.arange(20) * 1e-3
    arrived = np.ones(20, dtype=np.bool_)
    arrived[3] = False
    assert _answer(found, sent_s, arrived).dropped_ms is None


def test_one_core_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})
    with pytest.raises(ConfigError, match="one core"):
        measure(LOAD)
