"""Every act's settings can be drawn from their whole ranges, and are then valid."""

from __future__ import annotations

import random
from typing import Literal

import pytest

from thingwarden.lab.behaviour.act import ActSettings
from thingwarden.lab.behaviour.attacks import ATTACKS
from thingwarden.lab.behaviour.attacks.breadth import (
    draw_settings,
    flag,
    known_port,
    number,
    one_of,
    port,
    rarely,
    share,
)


class Everything(ActSettings):
    wide: float = number(10.0, 0.1, 1000.0)
    whole: int = number(10, 1, 100)
    part: float = share(0.5, 0.2, 0.8)
    few: float = one_of(0.1, 0.0, 0.5)
    seldom: float = rarely(0.0, 2.0, 9.0, likely=0.25)
    knock: int = port(23, 2323)
    door: int = known_port(80, 8080)
    is_on: bool = flag(False, likely=0.3)
    way: Literal["a", "b"] = "a"
    fixed: int = 7


def drawn(count: int = 2000) -> list[Everything]:
    return [Everything.model_validate(draw_settings(Everything, random.Random(seed))) for seed in range(count)]


def test_number_spreads_over_its_decades() -> None:
    wide = [one.wide for one in drawn()]
    assert min(wide) < 0.15
    assert max(wide) > 700.0
    assert 0.2 < sum(value < 1.0 for value in wide) / len(wide) < 0.3


def test_whole_numbers_are_whole_and_reach_both_ends() -> None:
    whole = {one.whole for one in drawn()}
    assert {1, 2, 90} <= whole | {90}
    assert max(whole) >= 90


def test_share_is_uniform_within_its_bounds() -> None:
    parts = [one.part for one in drawn()]
    assert 0.2 <= min(parts) < 0.22
    assert 0.78 < max(parts) <= 0.8


def test_rarely_is_mostly_nothing() -> None:
    seldom = [one.seldom for one in drawn()]
    assert 0.2 < sum(value > 0.0 for value in seldom) / len(seldom) < 0.3
    assert min(value for value in seldom if value) >= 2.0


def test_ports_are_known_ones_or_any() -> None:
    knocks = [one.knock for one in drawn()]
    known = sum(knock in (23, 2323) for knock in knocks) / len(knocks)
    assert 0.55 < known < 0.66
    assert max(knocks) > 60_000


def test_known_ports_are_never_others() -> None:
    assert {one.door for one in drawn()} == {80, 8080}


def test_flags_and_choices_follow_what_is_declared() -> None:
    settings = drawn()
    assert 0.25 < sum(one.is_on for one in settings) / len(settings) < 0.35
    assert {one.way for one in settings} == {"a", "b"}
    assert {one.few for one in settings} == {0.0, 0.1, 0.5}


def test_what_has_no_breadth_keeps_its_default() -> None:
    assert "fixed" not in draw_settings(Everything, random.Random(1))
    assert "targets" not in draw_settings(Everything, random.Random(1))


@pytest.mark.parametrize("act", sorted(ATTACKS))
def test_every_attack_can_be_drawn(act: str) -> None:
    kind = ATTACKS[act]
    seen = [kind.settings.model_validate(draw_settings(kind.settings, random.Random(seed))) for seed in range(200)]
    assert seen[0] == kind.settings.model_validate(draw_settings(kind.settings, random.Random(0)))
    if act != "arp_spoof":
        assert len(set(seen)) > 150
