"""Alerts are columns of one length."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.domain.alert import ALERT_COLUMNS, AlertBatch
from thingwarden.domain.errors import InputError


def columns(count: int) -> dict[str, np.ndarray]:
    return {name: np.zeros((count, *shape), dtype=dtype) for name, (dtype, shape) in ALERT_COLUMNS.items()}


def test_a_batch_counts_its_alerts() -> None:
    assert len(AlertBatch(**columns(3), signature=("a", "b", "c"), category=("", "", ""))) == 3


@pytest.mark.parametrize("name", sorted(ALERT_COLUMNS))
def test_a_column_of_another_length_or_type_is_refused(name: str) -> None:
    for odd in (columns(1)[name], columns(2)[name].astype(np.float32)):
        with pytest.raises(InputError, match=name if name != "at_s" or len(odd) == 2 else "column"):
            AlertBatch(**{**columns(2), name: odd}, signature=("a", "b"), category=("", ""))


def test_every_alert_has_its_text() -> None:
    with pytest.raises(InputError, match="text"):
        AlertBatch(**columns(2), signature=("a",), category=("", ""))


def test_logs_join_in_order_and_add_up_what_they_passed_over() -> None:
    first = AlertBatch(**columns(1), signature=("a",), category=("x",), passed_over={"dns": 2})
    second = AlertBatch(**columns(2), signature=("b", "c"), category=("", ""), passed_over={"dns": 1, "flow": 1})
    joined = AlertBatch.concatenate([first, second])
    assert (joined.signature, joined.category) == (("a", "b", "c"), ("x", "", ""))
    assert joined.passed_over == {"dns": 3, "flow": 1}
    assert len(AlertBatch.concatenate([])) == 0


def test_the_engines_flows_join_too_where_they_are_told() -> None:
    told = AlertBatch(**columns(1), signature=("a",), category=("",), flow_started_at_s=np.array([5.0]))
    untold = AlertBatch(**columns(1), signature=("b",), category=("",))
    joined = AlertBatch.concatenate([untold, told]).flow_started_at_s
    assert joined is not None and np.isnan(joined[0]) and joined[1] == 5.0
    with pytest.raises(InputError, match="flow_started_at_s"):
        AlertBatch(**columns(2), signature=("a", "b"), category=("", ""), flow_started_at_s=np.zeros(1))
