"""The picture is one SVG document that shows every contestant, also where it found nothing."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from thingwarden.bench.signature_plots import draw_signatures

LAB = {"by_class": {"scan": {"attacks": 2, "found": 1}, "c2": {"attacks": 3, "found": 0}}}
BENIGN = {"false_per_device_day": 3.0, "false_loud_per_device_day": None}


def test_every_contestant_and_class_is_named() -> None:
    drawn = draw_signatures(
        {
            "one": {"lab": LAB, "benign": BENIGN},
            "other": {"lab": None, "benign": None},
            "third": {"lab": LAB, "benign": BENIGN},
        }
    )
    text = "".join(ET.fromstring(drawn).itertext())
    assert all(word in text for word in ("one", "other", "third", "scan", "(3)", "false alarms per device-day"))


def test_the_same_figures_give_the_same_picture() -> None:
    pooled = {"one": {"lab": LAB, "benign": BENIGN}}
    assert draw_signatures(pooled) == draw_signatures(pooled)


def test_nothing_is_drawn_without_failing() -> None:
    assert draw_signatures({"one": {"lab": None, "benign": None}}).startswith("<svg")
