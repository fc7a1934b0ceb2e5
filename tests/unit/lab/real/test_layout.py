"""The network's plan: every command stays inside this lab's namespaces and inside the lab's prefixes."""

from __future__ import annotations

from lab_host_builder import lan_host
from thingwarden.lab.prefix import require_inside
from thingwarden.lab.real.layout import Layout, Step, detour_ends, names_of

LAYOUT = Layout(prefix="tw-1.2", hosts=(lan_host("camera", 21), lan_host("plug", 31, joins=True)))


def _lines(steps: list[Step]) -> list[str]:
    return [line for step in steps for line in step.stdin.splitlines()]


def test_every_command_names_a_namespace_of_this_lab() -> None:
    for step in (*LAYOUT.build(), *LAYOUT.open_air(), *LAYOUT.detour("port0"), *LAYOUT.detour("wan0")):
        named = [argument for argument in step.argv if argument.startswith("tw-1.2-")]
        assert named or all("tw-1.2-" in line for line in step.stdin.splitlines()), step


def test_every_address_is_the_labs() -> None:
    addresses = [line.split()[2] for line in _lines(LAYOUT.build()) if line.startswith("addr add")]
    assert len(addresses) > 40
    for address in addresses:
        require_inside(address.partition("/")[0])


def test_a_host_that_joins_later_has_no_address_before() -> None:
    lines = _lines(LAYOUT.build())
    assert any("10.77.0.21" in line for line in lines)
    assert not any("10.77.0.31" in line for line in lines)
    assert "10.77.0.31/24" in LAYOUT.link_up(LAYOUT.hosts[1], "10.77.0.31").stdin


def test_a_name_without_a_host_gets_no_address() -> None:
    assert not any("203.0.113.40" in line for line in _lines(LAYOUT.build()))


def test_the_internet_throws_away_what_goes_to_absent_hosts() -> None:
    thrown = {line.split()[-1] for line in _lines(LAYOUT.build()) if line.startswith("route add blackhole")}
    assert thrown == {"198.18.0.0/15", "203.0.113.0/24", "198.51.100.0/24", "2001:db8:100::/48"}


def test_interface_names_fit_the_kernel() -> None:
    hosts = tuple(lan_host(f"h{number}", number) for number in range(2, 254))
    layout = Layout(prefix="tw-1.2", hosts=hosts)
    ports = [layout.port(host.name) for host in hosts]
    assert len(set(ports)) == len(hosts)
    assert max(len(end) for port in ports for end in detour_ends(port)) < 16


def test_hosts_are_named_after_gateway_and_internet() -> None:
    assert names_of(LAYOUT.hosts) == ("gateway", "internet", "camera", "plug")
