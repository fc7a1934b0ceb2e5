"""Lists are columns of one length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from thingwarden.domain.errors import InputError
from thingwarden.domain.indicator import INDICATOR_COLUMNS, IndicatorSet


def columns(count: int) -> dict[str, Any]:
    numbers = {name: np.zeros((count, *shape), dtype=dtype) for name, (dtype, shape) in INDICATOR_COLUMNS.items()}
    return {**numbers, "name": ("",) * count, "origin": ("a, line 1",) * count, "quote": ("",) * count}


def test_lists_join_in_order_and_add_up_what_they_passed_over() -> None:
    first = IndicatorSet(**columns(2), passed_over={"revoked": 1})
    second = IndicatorSet(**{**columns(1), "origin": ("b, line 1",)}, passed_over={"revoked": 2, "expired": 1})
    joined = IndicatorSet.concatenate([first, second])
    assert joined.origin == ("a, line 1", "a, line 1", "b, line 1")
    assert joined.passed_over == {"revoked": 3, "expired": 1}
    assert len(IndicatorSet.concatenate([])) == 0


@pytest.mark.parametrize("name", sorted(set(INDICATOR_COLUMNS) - {"kind"}))
def test_a_column_of_another_length_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        IndicatorSet(**{**columns(2), name: columns(1)[name]})


def test_every_entry_has_its_texts() -> None:
    with pytest.raises(InputError, match="name, origin"):
        IndicatorSet(**{**columns(2), "quote": ("",)})
