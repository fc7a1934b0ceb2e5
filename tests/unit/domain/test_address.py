"""Addresses are compared in one spelling."""

from __future__ import annotations

import ipaddress

import pytest

from thingwarden.domain.address import plain_address


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("192.168.1.1", "192.168.1.1"),
        ("::ffff:192.168.1.1", "192.168.1.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_every_spelling_becomes_the_plain_one(written: str, plain: str) -> None:
    assert plain_address(ipaddress.ip_address(written)) == ipaddress.ip_address(plain)
