"""What the operator says of devices, and when people are at work."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from thingwarden.domain.device import CRITICAL_ROLES, Device, DeviceRole
from thingwarden.domain.response import Act
from thingwarden.respond.rules import DeviceRule, Maintenance, PolicySettings

BERLIN = ZoneInfo("Europe/Berlin")
DEVICE = Device(index=1, mac="02:00:5E:00:00:0A", address=ipaddress.ip_address("192.168.1.10"))


@pytest.mark.parametrize(
    "rule",
    [
        DeviceRule(label="it", macs=frozenset({"02:00:5e:00:00:0a"})),
        DeviceRule(label="it", vendors=frozenset({"02:00:5e"})),
        DeviceRule(label="it", addresses=frozenset({ipaddress.ip_address("192.168.1.10")})),
    ],
)
def test_a_device_is_named_by_mac_vendor_or_address(rule: DeviceRule) -> None:
    assert rule.names(DEVICE)
    assert not rule.names(Device(index=2, mac="02:00:5f:00:00:0a", address=ipaddress.ip_address("192.168.1.11")))
    assert PolicySettings(devices=(rule,)).rule_for(DEVICE) is rule


def test_an_address_is_known_in_every_spelling() -> None:
    rule = DeviceRule(label="it", addresses=frozenset({ipaddress.ip_address("192.168.1.10")}))
    assert rule.names(Device(index=1, mac=None, address=ipaddress.ip_address("::ffff:192.168.1.10")))


def test_the_first_rule_that_names_a_device_holds() -> None:
    first = DeviceRule(label="first", vendors=frozenset({"02:00:5e"}))
    second = DeviceRule(label="second", macs=frozenset({"02:00:5e:00:00:0a"}))
    assert PolicySettings(devices=(first, second)).rule_for(DEVICE) is first
    assert PolicySettings().rule_for(DEVICE).label == "192.168.1.10"


@pytest.mark.parametrize("role", list(DeviceRole))
def test_whatever_the_file_says_a_critical_device_gets_a_rate_limit_at_most(role: DeviceRole) -> None:
    rule = DeviceRule(label="it", macs=frozenset({"02:00:5e:00:00:0a"}), role=role, automatic_up_to=Act.ISOLATE)
    settings = PolicySettings(devices=(rule,), role_limits=((role, Act.ISOLATE),), automatic_up_to=Act.ISOLATE)
    limit, why = settings.limit_for(DEVICE)
    assert limit is (Act.RATE_LIMIT if role in CRITICAL_ROLES else Act.ISOLATE)
    assert why


def test_the_mildest_limit_holds_and_is_named() -> None:
    rule = DeviceRule(label="porch", macs=frozenset({"02:00:5e:00:00:0a"}), role=DeviceRole.CAMERA)
    settings = PolicySettings(devices=(rule,), role_limits=((DeviceRole.CAMERA, Act.BLOCK_FLOW),))
    assert settings.limit_for(DEVICE) == (Act.BLOCK_FLOW, "the limit of the role camera")


def opened(at: datetime, **changes: object) -> bool:
    values: dict[str, object] = {"label": "night", "days": frozenset({6}), "begins": time(22), "ends": time(4)}
    return Maintenance(zone=BERLIN, **{**values, **changes}).is_open(at)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (datetime(2026, 1, 18, 20, 59, tzinfo=UTC), False),  # Sunday 21:59 in Berlin
        (datetime(2026, 1, 18, 21, 0, tzinfo=UTC), True),
        (datetime(2026, 1, 19, 2, 59, 59, tzinfo=UTC), True),  # Monday 03:59:59
        (datetime(2026, 1, 19, 3, 0, tzinfo=UTC), False),
        (datetime(2026, 1, 19, 22, 0, tzinfo=UTC), False),  # Monday night
        (datetime(2026, 7, 19, 20, 0, tzinfo=UTC), True),  # summer: 22:00 in Berlin
    ],
)
def test_hours_over_midnight_belong_to_the_day_on_which_they_begin(at: datetime, expected: bool) -> None:
    assert opened(at) is expected


def test_equal_hours_are_a_whole_day() -> None:
    noon = datetime(2026, 1, 18, 12, tzinfo=UTC)  # a Sunday
    assert opened(noon, begins=time(6), ends=time(6))
    assert opened(noon + timedelta(hours=16), begins=time(6), ends=time(6))
    assert not opened(noon + timedelta(hours=18), begins=time(6), ends=time(6))


def test_a_day_that_is_an_hour_short_or_long_is_read_by_its_wall_clock() -> None:
    span = {"days": frozenset(range(7)), "begins": time(2), "ends": time(3)}
    short = [opened(datetime(2026, 3, 29, tzinfo=UTC) + timedelta(minutes=n), **span) for n in range(240)]
    long = [opened(datetime(2026, 10, 25, tzinfo=UTC) + timedelta(minutes=n), **span) for n in range(240)]
    assert (sum(short), sum(long)) == (0, 120)


def test_maintenance_of_some_devices_is_theirs_alone() -> None:
    rule = DeviceRule(label="porch", macs=frozenset({"02:00:5e:00:00:0a"}))
    hours = Maintenance(label="visit", devices=frozenset({"porch"}), begins=time(0), ends=time(0), zone=BERLIN)
    settings = PolicySettings(devices=(rule,), maintenance=(hours,))
    at = datetime(2026, 1, 18, 12, tzinfo=UTC)
    assert settings.open_maintenance(DEVICE, at) is hours
    assert settings.open_maintenance(Device(index=2, mac="02:00:00:00:00:01", address=None), at) is None
