"""The policy file: every key reaches policy, every problem is named, contradictions are told."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path

import pytest

from thingwarden.domain.device import DeviceRole
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.response import Act
from thingwarden.policy_file import check_policy, load_policy
from thingwarden.respond.rules import PolicySettings

EVERYTHING = """
version = 1
[orders]
is_monitor_only = true
automatic_up_to = "rate_limit"
max_ttl_s = 60.0
max_devices_count = 1
max_devices_ratio = 0.1
max_blocked_peers_count = 2
max_decisions_per_minute = 3
max_changes_per_device_hour = 4
max_harmless_flows_count = 5
max_harmless_ratio = 0.1
[protected]
gateways = ["192.168.1.1"]
resolvers = ["192.168.1.2"]
operator_hosts = ["fd00::3"]
macs = ["02:00:5E:10:00:01"]
[allowed]
networks = ["10.0.0.0/8"]
macs = ["02:00:5e:10:00:02"]
vendors = ["02:00:5F"]
domains = ["Example.ORG."]
[roles]
camera = "block_flow"
[[device]]
label = "front door"
hosts = ["192.168.1.7", "02:00:5E:10:00:03", "fd00::7"]
vendors = ["02:01:02"]
role = "lock"
is_monitored = true
automatic_up_to = "notify"
[[maintenance]]
label = "night"
devices = ["front door"]
days = ["sun", "mon"]
begins = "22:00"
ends = "04:00"
zone = "Europe/Berlin"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "policy.toml"
    file.write_text(text)
    return file


def test_the_packaged_policy_is_the_default_and_says_nothing_unwise() -> None:
    assert load_policy(None) == PolicySettings()
    assert check_policy(None) == ([], [])


def test_every_key_reaches_policy(tmp_path: Path) -> None:
    policy = load_policy(written(tmp_path, EVERYTHING))
    default = PolicySettings()
    assert not [
        field.name
        for field in dataclasses.fields(policy)
        if getattr(policy, field.name) == getattr(default, field.name)
    ]
    assert policy.protected_addresses == {
        ipaddress.ip_address(text) for text in ("192.168.1.1", "192.168.1.2", "fd00::3")
    }
    assert policy.allowed_domains == {"example.org"}
    (rule,), (hours,) = policy.devices, policy.maintenance
    assert (rule.macs, rule.vendors, rule.role) == ({"02:00:5e:10:00:03"}, {"02:01:02"}, DeviceRole.LOCK)
    assert rule.addresses == {ipaddress.ip_address("192.168.1.7"), ipaddress.ip_address("fd00::7")}
    assert policy.role_limits == ((DeviceRole.CAMERA, Act.BLOCK_FLOW),)
    assert (hours.days, hours.begins.hour, str(hours.zone)) == ({0, 6}, 22, "Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("foo = 1\n", ("foo", "unknown key", "orders")),
        ("version = 2\n", ("version", "2")),
        ("[orders]\nfoo = 1\n", ("orders.foo", "unknown key", "max_ttl_s")),
        ('[orders]\nautomatic_up_to = "explode"\n', ("orders.automatic_up_to", "'explode'", "quarantine")),
        ("[orders]\nmax_devices_count = 1.5\n", ("orders.max_devices_count", "1.5", "whole number")),
        ("[orders]\nmax_ttl_s = inf\n", ("orders.max_ttl_s", "seconds, 1 to 604800")),
        ('[protected]\nmacs = ["02:00:5e"]\n', ("protected.macs.1", "'02:00:5e'", "list of MACs")),
        ('[protected]\ngateways = ["router"]\n', ("protected.gateways.1", "'router'", "192.168.1.1")),
        ('[allowed]\nnetworks = ["192.168.1.7/24"]\n', ("allowed.networks.1", "host bits set")),
        ('[allowed]\nvendors = ["Acme"]\n', ("allowed.vendors.1", "'Acme'", "three hexadecimal pairs")),
        ('[allowed]\ndomains = ["https://a.example/"]\n', ("allowed.domains.1", "without a scheme")),
        ('[roles]\ntoaster = "isolate"\n', ("roles", "toaster")),
        ('[roles]\nlock = "isolate"\n', ("lock is safety-critical",)),
        ('[[device]]\nhosts = ["10.0.0.1"]\n', ("device.1.label", "required")),
        ('[[device]]\nlabel = "a"\n', ("device.1", "names no device")),
        ('[[device]]\nlabel = "a"\nhosts = ["front door"]\n', ("device.1.hosts.1", "'front door'")),
        ('[[device]]\nlabel = "a\\u001b"\nhosts = ["10.0.0.1"]\n', ("device.1.label", "printable")),
        (
            '[[device]]\nlabel = "a"\nhosts = ["10.0.0.1"]\nrole = "medical"\nautomatic_up_to = "block_flow"\n',
            ("device.1", "medical is safety-critical"),
        ),
        (
            '[[device]]\nlabel = "a"\nhosts = ["10.0.0.1"]\n[[device]]\nlabel = "a"\nhosts = ["10.0.0.2"]\n',
            ("two devices are called 'a'",),
        ),
        ('[[maintenance]]\nlabel = "n"\nbegins = "2:00"\nends = "03:00"\nzone = "UTC"\n', ("maintenance.1.begins",)),
        ('[[maintenance]]\nlabel = "n"\nbegins = "02:00"\nends = "03:00"\nzone = "Moon"\n', ("maintenance.1.zone",)),
        (
            '[[maintenance]]\nlabel = "n"\nbegins = "02:00"\nends = "03:00"\nzone = "../../etc/passwd"\n',
            ("maintenance.1.zone", "no time zone"),
        ),
        (
            '[[maintenance]]\nlabel = "n"\nbegins = "02:00"\nends = "03:00"\nzone = "UTC"\ndays = []\n',
            ("maintenance.1", "on no day"),
        ),
        (
            '[[maintenance]]\nlabel = "n"\nbegins = "02:00"\nends = "03:00"\nzone = "UTC"\ndevices = ["x"]\n',
            ("maintenance 'n' is about 'x'",),
        ),
        ("[orders\n", ("not valid TOML",)),
    ],
)
def test_a_refusal_names_file_key_value_and_what_is_allowed(tmp_path: Path, text: str, said: tuple[str, ...]) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load_policy(file)
    shown = " ".join((refused.value.what, refused.value.why, refused.value.hint))
    assert str(file) in refused.value.what
    assert [part for part in said if part not in shown] == []


def test_all_problems_are_found(tmp_path: Path) -> None:
    file = written(tmp_path, '[orders]\nfoo = 1\nmax_ttl_s = -1.0\n[allowed]\nmacs = ["x"]\n')
    problems, warnings = check_policy(file)
    assert {problem.key for problem in problems} == {"orders.foo", "orders.max_ttl_s", "allowed.macs.1"}
    assert warnings == []
    with pytest.raises(ConfigError) as refused:
        load_policy(file)
    assert "2 more" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('[allowed]\nmacs = ["02:00:00:00:00:01"]\n[[device]]\nlabel = "a"\nhosts = ["02:00:00:00:00:01"]\n', "anyway"),
        ('[protected]\ngateways = ["10.0.0.1"]\n[[device]]\nlabel = "a"\nhosts = ["10.0.0.1"]\n', "anyway"),
        (
            '[[device]]\nlabel = "a"\nhosts = ["10.0.0.1"]\n[[device]]\nlabel = "b"\nhosts = ["10.0.0.1"]\n',
            "10.0.0.1 is already a's",
        ),
        ('[roles]\ncamera = "isolate"\n', "never reached"),
        ('[roles]\ncamera = "block_flow"\n', "no device has this role"),
        ('[[device]]\nlabel = "a"\nhosts = ["10.0.0.1"]\nautomatic_up_to = "isolate"\n', "never reached"),
        (
            '[[device]]\nlabel = "a"\nhosts = ["10.0.0.1"]\nis_monitored = true\nautomatic_up_to = "notify"\n',
            "no effect in monitor mode",
        ),
        ('[allowed]\nvendors = ["02:00:5e"]\n', "chooses its own MAC"),
        ('[allowed]\nnetworks = ["0.0.0.0/0"]\n', "large part of the internet"),
        ("[orders]\nmax_devices_count = 0\n", "nothing is ever ordered"),
    ],
)
def test_contradictions_and_traps_are_told(tmp_path: Path, text: str, warning: str) -> None:
    problems, warnings = check_policy(written(tmp_path, text))
    assert problems == []
    assert any(warning in told for told in warnings)


def test_an_ipv6_address_that_looks_like_a_mac_is_none(tmp_path: Path) -> None:
    text = '[[device]]\nlabel = "a"\nhosts = ["fe80::1:22:333:44", "02:00:5E:10:00:03"]\n'
    (rule,) = load_policy(written(tmp_path, text)).devices
    assert rule.addresses == {ipaddress.ip_address("fe80::1:22:333:44")}
    assert rule.macs == {"02:00:5e:10:00:03"}


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_policy(tmp_path / "none.toml")
