"""The picture is one SVG document that shows every contestant, also where it found nothing."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from thingwarden.bench.signature_plots import draw_signatures

LAB = {"by_class": {"scan": {"attacks": 2, "found": 1}, "c2": {"attacks": 3, "found": 0}}}
POOLED = {"one": {"lab": LAB}, "other": {"lab": None}, "third": {"lab": LAB}}
RATES = {"one, seen": (3.25, 1.0), "one, held out": (0.5, None)}


def test_every_contestant_class_and_rate_is_named() -> None:
    text = "".join(ET.fromstring(draw_signatures(POOLED, RATES)).itertext())
    words = ("one", "other", "third", "scan", "(3)", "one, seen", "one, held out", "3.25", "0.50")
    assert [word for word in words if word not in text] == []


def test_the_same_figures_give_the_same_picture() -> None:
    assert draw_signatures(POOLED, RATES) == draw_signatures(POOLED, RATES)


def test_nothing_is_drawn_without_failing() -> None:
    assert draw_signatures({"one": {"lab": None}}, {}).startswith("<svg")
