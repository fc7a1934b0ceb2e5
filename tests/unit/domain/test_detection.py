"""Verdict columns are frozen and of one length."""

from __future__ import annotations

import dataclasses

import pytest

from thingwarden.detect.verdict import FlowJudge
from thingwarden.domain.calibration import Calibration


def test_verdicts_are_as_long_as_the_flows_and_frozen() -> None:
    verdicts = FlowJudge(3, Calibration()).verdicts()
    assert len(verdicts) == 3
    assert {len(getattr(verdicts, item.name)) for item in dataclasses.fields(verdicts)} == {3}
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdicts.role = verdicts.role  # type: ignore[misc]
