"""Heard names are columns of one length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from thingwarden.domain.errors import InputError
from thingwarden.domain.heard_name import HEARD_COLUMNS, HeardNames


def columns(count: int) -> dict[str, Any]:
    return {name: np.zeros((count, *shape), dtype=dtype) for name, (dtype, shape) in HEARD_COLUMNS.items()}


def test_logs_join_in_order() -> None:
    joined = HeardNames.concatenate([HeardNames(**columns(1), name=("a",)), HeardNames(**columns(1), name=("b",))])
    assert (len(joined), joined.name) == (2, ("a", "b"))
    assert len(HeardNames.concatenate([])) == 0


@pytest.mark.parametrize("name", sorted(set(HEARD_COLUMNS) - {"at_s"}))
def test_a_column_of_another_length_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        HeardNames(**{**columns(2), name: columns(1)[name]}, name=("a", "b"))


def test_every_name_has_its_text() -> None:
    with pytest.raises(InputError, match="text"):
        HeardNames(**columns(2), name=("a",))
