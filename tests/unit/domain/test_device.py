"""How a device is named to people."""

from __future__ import annotations

import ipaddress

import pytest

from thingwarden.domain.device import Device


@pytest.mark.parametrize(
    ("mac", "address", "name"),
    [
        ("02:00:00:00:00:01", ipaddress.ip_address("192.168.1.7"), "192.168.1.7"),
        ("02:00:00:00:00:01", None, "02:00:00:00:00:01"),
        (None, ipaddress.ip_address("fd00::7"), "fd00::7"),
        (None, None, "unattributed"),
    ],
)
def test_a_device_is_named_by_address_then_mac(mac: str | None, address: object, name: str) -> None:
    assert Device(index=1, mac=mac, address=address).name == name  # type: ignore[arg-type]
