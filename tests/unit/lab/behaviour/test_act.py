"""What every act is given, and what its settings refuse."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from thingwarden.lab.behaviour.act import ActSettings
from thingwarden.lab.behaviour.catalogue import ACTS


@pytest.mark.parametrize("wrong", [{"lasts_s": 0.0}, {"lasts_s": -1.0}, {"speed": 3}, {"targets": 7}])
def test_settings_refuse_what_they_do_not_know(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ActSettings.model_validate(wrong)


def test_settings_stay_as_they_were_given() -> None:
    settings = ActSettings(targets=("10.77.0.21",))
    with pytest.raises(ValidationError):
        settings.lasts_s = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("act", sorted(ACTS))
def test_every_act_is_bounded_by_default(act: str) -> None:
    assert 0.0 < ACTS[act].settings().lasts_s <= 600.0
