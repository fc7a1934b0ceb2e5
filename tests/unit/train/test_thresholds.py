"""Thresholds: set by each family alone, the strictest counts, and an owner's scan sets none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thingwarden.domain.calibration import Calibration
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.testing import FlowSpec, FlowWordEncoder, build_devices, build_flows, build_scores
from thingwarden.train.corpus import Capture, Family, Part, constant_labels
from thingwarden.train.thresholds import LOWEST_STRANGE_NATS, OWN_SCAN, Scored, prepare, scale_surprise, set_thresholds

A = "192.168.1.10"
DEVICES = build_devices([A])


def part_of(flows: FlowBatch, family: Family = "home-2020") -> Part:
    capture = Capture(name=f"{family}/one", family=family, group="one", kind="benign", paths=(Path("one"),))
    return Part(capture, flows)


def flows_of(count: int, detail: bytes = b"") -> FlowBatch:
    flows = build_flows([FlowSpec(at_s=60.0 * row, orig=A) for row in range(count)])
    labels = constant_labels(count, AttackClass.BENIGN)
    return replace(flows, labels=replace(labels, detail=np.full(count, detail, dtype="S48")))


def scored(family: str, probability: float, surprise_nats: float = 0.0, count: int = 50) -> Scored:
    flows = flows_of(count)
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    return Scored(family, part_of(flows), words, build_scores(len(words), probability, surprise_nats=surprise_nats))


def test_the_stricter_family_sets_each_level() -> None:
    both = set_thresholds([scored("recorded", 0.2), scored("lab", 0.8)], Calibration())
    alone = set_thresholds([scored("lab", 0.8)], Calibration())
    assert (both.flow_threshold, both.evidence_nats) == (alone.flow_threshold, alone.evidence_nats)
    diluted = set_thresholds([scored("recorded", 0.2, count=900), scored("lab", 0.8)], Calibration())
    assert diluted.evidence_nats == alone.evidence_nats > 1.0


def test_strangeness_alarms_above_what_harmless_devices_reach() -> None:
    start = Calibration(strange_nats=3.0, strange_cap_nats=12.0, rarity_weight=1.0)
    busy = set_thresholds([scored("recorded", 0.1, surprise_nats=9.0)], start)
    quiet = set_thresholds([scored("recorded", 0.1, surprise_nats=1.0)], start)
    assert busy.strange_alarm_nats > 3.0 * 50 > quiet.strange_alarm_nats == LOWEST_STRANGE_NATS


def test_loudness_is_scaled_by_the_louder_family() -> None:
    both = set_thresholds([scored("recorded", 0.1), scored("lab", 0.4)], Calibration())
    assert both.loudness_nats == pytest.approx([np.log(0.4 / 0.6)] * len(both.loudness_nats), abs=1e-4)


def test_surprise_is_scaled_by_the_family_that_it_surprises_more() -> None:
    scaled = scale_surprise([scored("recorded", 0.1, 20.0), scored("lab", 0.1, 35.0)], Calibration())
    assert scaled.surprise_nats == pytest.approx([35.0] * len(scaled.surprise_nats))


def test_an_owners_scan_sets_nothing_and_recorded_parts_come_lossy_too() -> None:
    parts = [part_of(flows_of(5)), part_of(flows_of(7, OWN_SCAN + b"-1"), "lab"), part_of(flows_of(0))]
    prepared = prepare(parts)
    assert [(family, len(part.flows)) for family, part in prepared] == [("recorded", 5), ("lab", 0), ("lossy", 5)]


def test_nothing_to_set_them_on_changes_nothing() -> None:
    assert set_thresholds([], Calibration()) == Calibration() == scale_surprise([], Calibration())
