"""The section [enforce], refused where it makes no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingwarden.config import load_settings
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.response import Reach


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('reach = "broker"', "enforce.reach"),
        ('kinds = ["abacus"]', "abacus"),
        ("mqtt_port = 0", "enforce.mqtt_port"),
        ('on_stop = "shout"', "enforce.on_stop"),
        ('by = "nftables"', "enforce.by"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, line: str, named: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f"[enforce]\n{line}\n")
    with pytest.raises(ConfigError, match=named):
        load_settings(path)


def test_a_firewall_stands_where_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[enforce]\nreach = "mirror"\nkinds = ["nftables", "mosquitto"]\n')
    chosen = load_settings(path).settings.enforce
    assert (chosen.reach, chosen.kinds) == (Reach.MIRROR, ("nftables", "mosquitto"))
