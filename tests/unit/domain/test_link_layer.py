"""Statements as columns: checked, taken, joined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from link_builder import announces, read
from thingwarden.domain.link_layer import LINK_COLUMNS, LinkBatch

OWN = ("02:00:00:00:00:0a", "192.168.1.10")


def test_taking_and_joining_keep_every_column() -> None:
    said, _, _ = read([announces(0.0, OWN), announces(1.0, OWN)])
    joined = LinkBatch.concatenate([said.take(np.array([0])), said.take(np.array([False, True]))])
    for name in LINK_COLUMNS:
        assert getattr(joined, name).tolist() == getattr(said, name).tolist()


def test_nothing_is_a_batch_too() -> None:
    assert len(LinkBatch.concatenate([])) == len(LinkBatch.empty()) == 0


@pytest.mark.parametrize("column", [np.zeros(1, dtype=np.uint64), np.zeros(2, dtype=np.int64)])
def test_columns_of_another_length_or_type_are_refused(column: np.ndarray) -> None:
    said, _, _ = read([announces(0.0, OWN), announces(1.0, OWN)])
    with pytest.raises(ValueError, match="link column mac"):
        replace(said, mac=column)
