"""The lab's internet: addresses of its own, no two services at one."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from thingwarden.lab.directory import SERVICES
from thingwarden.lab.prefix import INTERNET, INTERNET6


def test_every_service_lives_on_the_labs_internet() -> None:
    for service in SERVICES.values():
        assert any(IPv4Address(service.address) in prefix for prefix in INTERNET), service
        assert IPv6Address(service.address6) in INTERNET6, service


def test_no_two_services_share_an_address() -> None:
    assert len({service.address for service in SERVICES.values()}) == len(SERVICES)
    assert len({service.address6 for service in SERVICES.values()}) == len(SERVICES)


def test_names_are_reserved_ones_and_keys() -> None:
    for name, service in SERVICES.items():
        assert service.name == name
        assert name.endswith((".example", ".invalid"))


def test_hostile_ones_have_no_name_and_two_services_have_no_host() -> None:
    assert all(name.endswith(".invalid") for name, service in SERVICES.items() if service.is_hostile)
    assert [name for name, service in SERVICES.items() if service.is_absent] == [
        "gone.example",
        "control-3.invalid",
    ]
