"""Counts become rates; what was learned from stays out of sums; nothing over nothing is a figure."""

from __future__ import annotations

from typing import Any

import pytest

from thingwarden.bench.signature_pool import (
    held_out_tpr,
    pool_attacked,
    pool_benign,
    pool_contest,
    pool_held_out,
)

NO_ALARMS = dict.fromkeys(
    ("true", "true_loud", "false", "false_loud", "unlabelled", "unlabelled_loud", "with_role", "with_right_role"), 0
)


def _mask(total: int, said: int, loud: int = 0) -> dict[str, float]:
    return {
        "rows": total, "rows_said": said, "rows_said_loudly": loud,
        "weight": total / 2, "weight_said": said / 2, "weight_said_loudly": loud / 2,
    }  # fmt: skip


def build_record(name: str, collection: str, **changes: Any) -> dict[str, Any]:
    """A record of nothing in particular."""
    return {
        "recording": name, "collection": collection, "is_seen": False, "sessions": 1, "flows": 10, "device_days": 0.5,
        "malicious": _mask(0, 0), "benign": _mask(10, 0), "alarms": dict(NO_ALARMS), "unjoined": 0,
        "sessions_accused": 0, "sessions_accused_loudly": 0, "acts": {}, "names": [], "first_alarm_after_s": None,
        **changes,
    }  # fmt: skip


def _act(after_s: float | None, attack_class: str = "c2") -> dict[str, Any]:
    return {"class": attack_class, "rows": 4, "rows_said": 4 if after_s is not None else 0, "after_s": after_s}


def test_attacks_are_counted_by_name_and_class_and_timed_where_found() -> None:
    pooled = pool_attacked(
        [
            build_record(
                "a",
                "lab",
                malicious=_mask(8, 4, 2),
                benign=_mask(10, 1),
                acts={"beacon": _act(3.0), "scan": _act(None, "scan")},
            ),
            build_record("b", "lab", malicious=_mask(4, 4), acts={"beacon": _act(5.0)}),
        ]
    )
    assert pooled is not None
    assert (pooled["attacks"], pooled["found"], pooled["median_after_s"]) == (3, 2, 4.0)
    assert pooled["tpr"] == pytest.approx(8 / 12) and pooled["tpr_loud"] == pytest.approx(2 / 12)
    assert pooled["fpr_by_row"] == pytest.approx(1 / 20)
    assert pooled["by_class"]["scan"]["found"] == 0 and pooled["by_class"]["scan"]["median_after_s"] is None
    assert pooled["by_act"]["beacon"] == {
        "class": "c2", "attacks": 2, "found": 2, "median_after_s": 4.0, "rows": 8, "rows_said": 8,
    }  # fmt: skip


def test_what_was_seen_in_training_enters_no_sum() -> None:
    seen = build_record("a", "lab", malicious=_mask(8, 8), is_seen=True)
    other = build_record("b", "lab", malicious=_mask(8, 0))
    pooled = pool_attacked([seen, other])
    assert pooled is not None and pooled["tpr"] == 0.0
    assert pool_attacked([seen]) is None


def test_false_alarms_are_told_by_day_and_by_session_and_bounded_where_few() -> None:
    alarms = {**NO_ALARMS, "false": 3, "false_loud": 1}
    records = [
        build_record("x", "set-up", sessions=20, sessions_accused=5, sessions_accused_loudly=1, alarms=alarms),
        build_record("y", "set-up", sessions=20),
        build_record("z", "benign", alarms={**NO_ALARMS, "false": 1_000}),
    ]
    set_up = pool_benign(records, "set-up")
    assert set_up is not None
    assert (set_up["accused_per_100_sessions"], set_up["accused_loudly_per_100_sessions"]) == (12.5, 2.5)
    assert (set_up["false_per_device_day"], set_up["false_loud_per_device_day"]) == (3.0, 1.0)
    assert set_up["false_per_device_day_at_most"] == pytest.approx(7.75, abs=0.01)
    benign = pool_benign(records, "benign")
    assert benign is not None and benign["false_per_device_day_at_most"] is None
    assert pool_benign(records, "by name") is None


def _cell(name: str, false: int, said: float) -> dict[str, Any]:
    return {
        "capture": name, "sessions": 2, "benign": {"rows": 10, "rows_said": said, "weight": 4.0, "weight_said": said},
        "incidents": {"false": false, "device_days": 2.0, "sessions_accused": false},
        "classes": {"c2": {"rows": 10, "rows_said": 5, "weight": 2.0, "weight_said": 2.0},
                    "ddos": {"rows": 90, "rows_said": 0, "weight": 1.0, "weight_said": 0.0}},
    }  # fmt: skip


def test_held_out_figures_are_means_over_seeds_and_need_every_capture() -> None:
    records = [build_record("home/a", "benign"), build_record("home/b", "benign"), build_record("s", "set-up")]
    held_out = {"home/a": [_cell("home/a", 2, 1.0), _cell("home/a", 0, 1.0)], "home/b": [_cell("home/b", 1, 0.0)]}
    found = pool_held_out(held_out, records)
    assert found["set_up"] is None, "s was never held out"
    assert found["benign"] is not None
    assert found["benign"]["false"] == 2.0 and found["benign"]["false_per_device_day"] == 0.5
    assert found["benign"]["fpr"] == pytest.approx(1 / 8)


def test_held_out_tpr_is_of_the_classes_that_the_packets_hold() -> None:
    record = build_record("34-1", "malware", acts={"C&C": _act(1.0)})
    assert held_out_tpr({"34-1": [_cell("34-1", 0, 0.0)]}, record) == (1.0, 0.5)
    assert held_out_tpr({}, record) == (None, None)


def test_every_contestant_gets_every_table() -> None:
    found = {"records": {"thingwarden": [build_record("a", "lab")], "suricata": []}}
    assert pool_contest(found)["suricata"] == {"lab": None, "benign": None, "set_up": None}
    assert pool_contest(found)["thingwarden"]["lab"] is not None
