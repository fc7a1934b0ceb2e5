"""The card says what was learned from, and thanks whom it is owed to."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np

from part_builder import build_recipe, sketched_part
from thingwarden.domain.calibration import Calibration
from thingwarden.train.card import SOURCES, CardFacts, render_card
from thingwarden.train.corpus import Family

FACTS = CardFacts(
    recipe=build_recipe(),
    seed=3,
    trained_at="2030-01-02T03:04:05+00:00",
    parameter_count=1_234_567,
    network_bytes=765_432,
    train=[sketched_part("attack", 1), sketched_part("benign-a", 2)],
    calibration=[sketched_part("benign-b", 3)],
    table_rows=0,
    thresholds=Calibration(flow_threshold=0.75, alarm_level_nats=12.5),
)


def test_the_card_tells_the_facts() -> None:
    card = render_card(FACTS)
    for fact in ("2030-01-02", FACTS.recipe.digest(), "1,234,567", "765,432", "0.750000", "12.5 nats", "| seed | 3 |"):
        assert fact in card, fact


def test_captures_are_counted_with_what_is_malicious_in_them() -> None:
    attack = FACTS.train[0].flows
    assert attack.labels is not None
    malicious = int((attack.labels.malicious == 1).sum())
    card = render_card(replace(FACTS, train=[FACTS.train[0], FACTS.train[0]]))
    assert f"| attack | {2 * len(attack):,} | {2 * malicious:,} |" in card
    held = card.split("## Thresholds were set on")[1]
    assert f"| benign-b | {len(FACTS.calibration[0].flows):,} | 0 |" in held and "| attack |" not in held


def test_only_the_sources_that_were_used_are_named() -> None:
    card, typed = render_card(FACTS), render_card(replace(FACTS, table_rows=10))
    assert SOURCES["iot23"] in card and SOURCES["ton_iot"] not in card
    assert SOURCES["ton_iot"] in typed


def test_every_family_of_captures_has_a_source() -> None:
    assert set(SOURCES) == set(get_args(Family))


def test_no_label_but_malicious_counts_as_malicious() -> None:
    part = FACTS.train[0]
    assert part.flows.labels is not None
    unknown = replace(part.flows.labels, malicious=np.full(len(part.flows), -1, dtype=np.int8))
    card = render_card(replace(FACTS, train=[part._replace(flows=replace(part.flows, labels=unknown))]))
    assert f"| attack | {len(part.flows):,} | 0 |" in card
