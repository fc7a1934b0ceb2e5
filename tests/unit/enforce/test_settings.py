"""What a process is told is read as it was meant, and nothing else is."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import pytest

from thingwarden.domain.errors import ConfigError
from thingwarden.enforce.guard import Bounds, GuardSettings
from thingwarden.enforce.settings import ProcessSettings, encode_settings, read_settings

SETTINGS = ProcessSettings(
    kind="webhook",
    socket=Path("/run/webhook.sock"),
    state=Path("/var/state"),
    leases=Path("/var/leases"),
    key=Path("/etc/key"),
    core_uid=7,
    releases_on_stop=True,
    protected_networks=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::1/128")),
    protected_macs=("02:00:00:00:00:01",),
    automatic=Bounds(devices=1, peers=2, decisions_per_minute=3),
    options={"url": "http://localhost/", "acts": ["isolate"]},
)


def test_settings_are_read_as_they_were_written() -> None:
    assert read_settings(encode_settings(SETTINGS)) == SETTINGS


def test_the_guard_is_told_its_part() -> None:
    assert SETTINGS.guard_settings() == GuardSettings(
        protected_networks=SETTINGS.protected_networks,
        protected_macs=frozenset({"02:00:00:00:00:01"}),
        automatic=SETTINGS.automatic,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", 3),
        ("socket", None),
        ("core_uid", "root"),
        ("core_uid", True),
        ("releases_on_stop", 1),
        ("protected_networks", "10.0.0.0/8"),
        ("protected_networks", ["10.0.0.1/8"]),
        ("automatic", {"devices": 1, "peers": 1, "decisions_per_minute": -1}),
        ("automatic", {"devices": 1}),
        ("automatic", []),
        ("options", []),
        ("else", 1),
    ],
)
def test_a_strange_value_is_named(name: str, value: object) -> None:
    data = {**json.loads(encode_settings(SETTINGS)), name: value}
    with pytest.raises(ConfigError, match=f"settings, {name}: "):
        read_settings(json.dumps(data))


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_what_holds_no_settings_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="the process's settings"):
        read_settings(text)
