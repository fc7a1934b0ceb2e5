"""Kinds of values are read from text, or refused."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from pydantic import ValidationError

from thingwarden.domain.response import Act
from thingwarden.setting import Acts, DeviceNames, FilePath, Macs, Networks, Section, setting


class _Sample(Section):
    networks: Networks = setting([], "Networks.", "networks")
    macs: Macs = setting([], "MACs.", "MACs")
    devices: DeviceNames = setting([], "Devices.", "devices")
    acts: Acts = setting([], "Acts.", "acts")
    path: FilePath = setting("~/x", "A path.", "a path")


def test_text_becomes_what_it_means() -> None:
    sample = _Sample(
        networks=["10.0.0.0/8", "fd00::1"],
        macs=["02:00:00:00:00:0A"],
        devices=["02:00:00:00:00:0A", "::ffff"],
        acts=["isolate"],
    )
    assert sample.networks == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::1/128"))
    assert sample.macs == ("02:00:00:00:00:0a",)
    assert sample.devices == ("02:00:00:00:00:0a", "::ffff")
    assert sample.acts == (Act.ISOLATE,)
    assert sample.path == Path.home() / "x"


@pytest.mark.parametrize(
    "wrong",
    [
        {"networks": ["10.0.0.1/8"]},
        {"networks": [167772160]},
        {"macs": ["02-00-00-00-00-0a"]},
        {"devices": ["camera"]},
        {"acts": ["explode"]},
        {"path": 3},
        {"unknown": 1},
    ],
)
def test_what_means_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        _Sample.model_validate(wrong)
