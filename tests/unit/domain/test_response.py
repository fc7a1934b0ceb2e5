"""The plan language."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest

from thingwarden.domain.response import TARGET_FIELDS, Act, Target
from thingwarden.testing import build_device

PEER = ipaddress.ip_address("203.0.113.5")


def test_acts_are_ordered_from_mild_to_drastic() -> None:
    order = sorted(Act, key=lambda act: act.severity)
    assert order[0] is Act.NOTIFY
    assert order[-2:] == [Act.QUARANTINE, Act.ISOLATE]


def test_every_act_names_the_fields_it_needs() -> None:
    known = {item.name for item in dataclasses.fields(Target)}
    assert set(TARGET_FIELDS) == set(Act)
    assert all(set(names) <= known for names in TARGET_FIELDS.values())


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target(device=build_device()), "192.168.1.10"),
        (Target(device=build_device(), peer=PEER, proto="tcp", port=23), "192.168.1.10 to 203.0.113.5 tcp/23"),
        (Target(device=build_device(), proto="tcp", port=23), "192.168.1.10 to any address tcp/23"),
        (Target(device=build_device(), peer=PEER, is_inbound=True), "203.0.113.5 to 192.168.1.10"),
        (Target(peer=PEER), "every device to 203.0.113.5"),
        (Target(device=build_device(), peer=PEER, proto="icmp"), "192.168.1.10 to 203.0.113.5 icmp"),
        (Target(domain="example.org"), "example.org"),
    ],
)
def test_targets_read_as_plain_words(target: Target, text: str) -> None:
    assert str(target) == text
