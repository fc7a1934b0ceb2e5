"""What somebody else wrote can be shown between quotes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingwarden.ingest.vendor_text import MAX_TEXT_CHARACTERS, plain_text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("ET SCAN Potential SSH Scan", "ET SCAN Potential SSH Scan"),
        ("a\tb\r\n  c", "a b c"),
        ('all is well" and "nothing', "all is well' and 'nothing"),
        ("\x1b[31mred\x00\u202egnirts", "?[31mred??gnirts"),
        ("", ""),
    ],
)
def test_text_is_printable_and_stays_inside_its_quotes(text: str, plain: str) -> None:
    assert plain_text(text) == plain


def test_long_text_is_cut_and_says_so() -> None:
    assert plain_text("x" * 10_000) == "x" * (MAX_TEXT_CHARACTERS - 3) + "..."
    assert plain_text("abcdefgh", 5) == "ab..."


@given(st.text(max_size=2_000), st.integers(min_value=4, max_value=300))
def test_no_text_gets_out(text: str, most_characters: int) -> None:
    plain = plain_text(text, most_characters)
    assert len(plain) <= most_characters
    assert plain.isascii() and plain.isprintable() and not set(plain) & set('"`')
    assert plain_text(plain, most_characters) == plain
