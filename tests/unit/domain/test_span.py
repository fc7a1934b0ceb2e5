"""Spans as people say them."""

from __future__ import annotations

import pytest

from thingwarden.domain.span import format_span


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0005, "0.5 ms"), (0.02, "20 ms"), (1, "1 s"), (30, "30 s"), (90, "1.5 min"), (7200, "2 h")]
)
def test_spans(seconds: float, text: str) -> None:
    assert format_span(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(61, "1 min"), (125, "2.1 min"), (0.5, "500 ms"), (15000, "4.2 h")])
def test_spans_in_two_digits(seconds: float, text: str) -> None:
    assert format_span(seconds, digits=2) == text
