"""What a machine knows of its network, from files as the kernel writes them."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from thingwarden.enforce.guard import KnownHosts
from thingwarden.enforce.own_hosts import find_known_hosts, networks_of_interface

FILES = {
    "proc/net/fib_trie": """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 192.168.1.1
        /32 host LOCAL
     |-- 192.168.1.255
        /32 link BROADCAST
     |-- 192.168.1.0
        /24 link UNICAST
""",
    "proc/net/if_inet6": "fd000000000000000000000000000001 02 40 00 80     eth0\nnonsense\n",
    "proc/net/route": (
        "Iface\tDestination\tGateway \tFlags\neth0\t00000000\tFE01A8C0\t0003\neth0\t0001A8C0\t00000000\t1\n"
    ),
    "proc/net/ipv6_route": (
        "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
        "fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n"
        "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
        "00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n"
    ),
    "proc/net/arp": (
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "192.168.1.254    0x1         0x2         02:00:00:00:00:FE     *        eth0\n"
        "192.168.1.40     0x1         0x2         02:00:00:00:00:40     *        eth0\n"
        "192.168.1.41     0x1         0x2         02:00:00:00:00:41     *        eth0\n"
        "192.168.1.42     0x1         0x0         00:00:00:00:00:00     *        eth0\n"
    ),
    "etc/resolv.conf": "# comment\nnameserver 192.168.1.53\nnameserver fe80::53%eth0\nnameserver bad\nsearch lan\n",
    "sys/class/net/eth0/address": "02:00:00:00:00:01\n",
    "sys/class/net/lo/address": "00:00:00:00:00:00\n",
}


def _write(root: Path) -> None:
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_own_addresses_routers_resolvers_and_their_macs_are_known(tmp_path: Path) -> None:
    _write(tmp_path)
    texts = ("192.168.1.1", "fd00::1", "192.168.1.254", "fe80::1", "192.168.1.53", "fe80::53")
    assert find_known_hosts(root=tmp_path) == KnownHosts(
        addresses=frozenset(map(ipaddress.ip_address, texts)),
        macs=frozenset({"02:00:00:00:00:01", "02:00:00:00:00:fe"}),
    )


def test_the_macs_of_protected_hosts_are_known_too(tmp_path: Path) -> None:
    _write(tmp_path)
    hosts = find_known_hosts((ipaddress.ip_network("192.168.1.40/32"),), tmp_path)
    assert "02:00:00:00:00:40" in hosts.macs
    assert "02:00:00:00:00:41" not in hosts.macs


def test_where_nothing_can_be_read_nothing_is_known(tmp_path: Path) -> None:
    assert find_known_hosts(root=tmp_path) == KnownHosts()


def test_this_machine_knows_its_loopback() -> None:
    assert ipaddress.ip_address("127.0.0.1") in find_known_hosts().addresses


NETWORK_ROUTE = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
wan0 00000000 FE0200C0 0003 0 0 0 00000000 0 0 0
wan0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
br0 00004D0A 00000000 0001 0 0 0 00FFFFFF 0 0 0
br0 00000000 00000000 0001 0 0 0 00000000 0 0 0
br0 garbage 00000000 0001 0 0 0 00FFFFFF 0 0 0
"""
NETWORK_IF_INET6 = """20010db8007700000000000000000001 05 40 00 80      br0
fe800000000000000077fffe00000001 05 40 20 80      br0
20010db8000200000000000000000001 06 40 00 80     wan0
zz 05 40 00 80 br0
"""


def test_the_networks_of_one_interface_are_told(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text(NETWORK_ROUTE)
    (tmp_path / "proc/net/if_inet6").write_text(NETWORK_IF_INET6)
    assert networks_of_interface("br0", tmp_path) == (
        ipaddress.ip_network("10.77.0.0/24"), ipaddress.ip_network("2001:db8:77::/64"),
    )  # fmt: skip
    assert networks_of_interface("eth9", tmp_path) == ()


def test_where_nothing_can_be_read_no_network_is_known(tmp_path: Path) -> None:
    assert networks_of_interface("br0", tmp_path) == ()


def test_this_machine_tells_of_its_loopback() -> None:
    assert all(network.version in (4, 6) for network in networks_of_interface("lo"))
