"""Sightings are columns of one length, and join with their sources."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from thingwarden.domain.errors import InputError
from thingwarden.domain.sighting import SIGHTING_COLUMNS, SightingBatch, SightingKind, SightingSource


def batch(count: int, name: str) -> SightingBatch:
    columns = {item: np.zeros(count, dtype=dtype) for item, dtype in SIGHTING_COLUMNS.items()}
    source = SightingSource(kind=SightingKind.SIGNATURE, name=name, origin="", quote="")
    return SightingBatch(**{**columns, "flow": np.arange(count)}, sources=(source,))


def test_batches_join_with_their_own_sources() -> None:
    joined = SightingBatch.concatenate([batch(2, "a"), SightingBatch.empty(), batch(1, "b")])
    assert [joined.sources[index].name for index in joined.source] == ["a", "a", "b"]
    assert joined.take(np.array([2, 0])).flow.tolist() == [0, 0]
    assert len(SightingBatch.concatenate([])) == 0


@pytest.mark.parametrize("name", sorted(set(SIGHTING_COLUMNS) - {"flow"}))
def test_a_column_of_another_length_or_type_is_refused(name: str) -> None:
    whole = batch(2, "a")
    with pytest.raises(InputError, match=name):
        replace(whole, **{name: getattr(whole, name)[:1]})
    with pytest.raises(InputError, match=name):
        replace(whole, **{name: getattr(whole, name).astype(np.complex128)})
