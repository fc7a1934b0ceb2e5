"""Networks of an interface, as the kernel tells them; nothing where it tells nothing."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from thingwarden.ingest.own_networks import networks_of_interface

ROUTE = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
wan0 00000000 FE0200C0 0003 0 0 0 00000000 0 0 0
wan0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
br0 00004D0A 00000000 0001 0 0 0 00FFFFFF 0 0 0
br0 00000000 00000000 0001 0 0 0 00000000 0 0 0
br0 garbage 00000000 0001 0 0 0 00FFFFFF 0 0 0
"""
IF_INET6 = """20010db8007700000000000000000001 05 40 00 80      br0
fe800000000000000077fffe00000001 05 40 20 80      br0
20010db8000200000000000000000001 06 40 00 80     wan0
zz 05 40 00 80 br0
"""


def test_the_networks_of_one_interface_are_told(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text(ROUTE)
    (tmp_path / "proc/net/if_inet6").write_text(IF_INET6)
    assert networks_of_interface("br0", tmp_path) == (
        ipaddress.ip_network("10.77.0.0/24"), ipaddress.ip_network("2001:db8:77::/64"),
    )  # fmt: skip
    assert networks_of_interface("eth9", tmp_path) == ()


def test_where_nothing_can_be_read_nothing_is_known(tmp_path: Path) -> None:
    assert networks_of_interface("br0", tmp_path) == ()


def test_this_machine_tells_of_its_loopback() -> None:
    assert all(network.version in (4, 6) for network in networks_of_interface("lo"))
