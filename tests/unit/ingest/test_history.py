"""History letters: first of each kind per side, repeats by number, powers of ten for what may repeat often."""

from __future__ import annotations

import numpy as np
import pytest

from packet_builder import Frame, conversation, histories, meter, tcp
from thingwarden.domain.flow import HISTORY_LENGTH
from thingwarden.ingest.history import is_bare_syn_reset


def rows(*texts: str) -> np.ndarray:
    padded = [text.ljust(HISTORY_LENGTH, "\0").encode() for text in texts]
    return np.frombuffer(b"".join(padded), dtype=np.uint8).reshape(-1, HISTORY_LENGTH)


@pytest.mark.parametrize(
    ("frames", "history"),
    [
        ([tcp(0, "S", 1), tcp(1, "S", 1)], "S"),
        ([tcp(0, "FR", 1)], "I"),
        ([tcp(0, "SR", 1)], "Q"),
        ([tcp(0, "", 1), tcp(0.1, "A", 1, 1)], "A"),
        ([*conversation()[:4], tcp(1, "FA", 106, 901), tcp(2, "FA", 106, 901)], "ShADF"),
        ([*conversation()[:4], tcp(1, "R", 106), tcp(2, "R", 107)], "ShADRR"),
        ([*conversation()[:3], tcp(1, "A", 901, 101, from_client=False, receive_bytes=0)], "ShAaw"),
    ],
)
def test_letters(frames: list[Frame], history: str) -> None:
    assert histories(meter(frames)) == [history]


@pytest.mark.parametrize(("repeat_count", "letters"), [(1, "T"), (9, "T"), (10, "TT"), (99, "TT"), (100, "TTT")])
def test_retransmissions_scale_by_ten(repeat_count: int, letters: str) -> None:
    again = [tcp(1 + n / 100, "A", 101, 901, b"hello") for n in range(repeat_count)]
    assert histories(meter([*conversation()[:4], *again])) == ["ShAD" + letters]


def test_a_long_history_is_cut_not_wrapped() -> None:
    resets = [tcp(1 + n / 100, "R", 200 + n) for n in range(40)]
    assert histories(meter([*conversation()[:4], *resets])) == [("ShAD" + "R" * 40)[:HISTORY_LENGTH]]


def test_a_bare_syn_reset_is_told_by_the_originator_s_letters() -> None:
    texts = ("SR", "^SR", "SrR", "SFR", "SAR", "ShR", "R", "S", "DSR")
    assert is_bare_syn_reset(rows(*texts)).tolist() == [True, True, True, False, False, True, False, False, False]


def test_no_history_no_answer() -> None:
    assert len(is_bare_syn_reset(rows())) == 0
