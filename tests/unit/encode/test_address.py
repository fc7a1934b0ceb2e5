"""Kinds of addresses, as the registries have them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import numpy as np
import pytest

from thingwarden.domain.flow import words_from_address
from thingwarden.encode.address import hash_columns, in_network, is_private, is_unicast, is_v4, peer_kinds, same_lan
from thingwarden.encode.vocabulary import PEER_KINDS


def _column(*texts: str) -> np.ndarray:
    return np.array([words_from_address(ip_address(text)) for text in texts], dtype=np.uint64)


@pytest.mark.parametrize(
    ("own", "peer", "kind"),
    [
        ("192.168.1.10", "192.168.1.11", "same_lan"),
        ("192.168.1.10", "192.168.2.11", "private"),
        ("192.168.1.10", "10.0.0.1", "private"),
        ("192.168.1.10", "172.31.255.1", "private"),
        ("192.168.1.10", "172.32.0.1", "internet"),
        ("192.168.1.10", "169.254.3.4", "link_local"),
        ("192.168.1.10", "8.8.8.8", "internet"),
        ("192.168.1.10", "8.8.8.255", "internet"),
        ("192.168.1.10", "224.0.0.251", "multicast"),
        ("192.168.1.10", "239.255.255.250", "multicast"),
        ("192.168.1.10", "255.255.255.255", "broadcast"),
        ("192.168.1.10", "192.168.1.255", "broadcast"),
        ("192.168.1.10", "192.168.1.10", "self"),
        ("0.0.0.0", "255.255.255.255", "broadcast"),
        ("192.168.1.10", "0.0.0.0", "unspecified"),
        ("fd00::1", "fd00::2", "same_lan"),
        ("fd00::1", "fd00:0:0:1::2", "private"),
        ("fd00::1", "fe80::2", "link_local"),
        ("fe80::1", "fe80::2", "same_lan"),
        ("fd00::1", "2001:db8::1", "internet"),
        ("fd00::1", "ff02::fb", "multicast"),
        ("fe80::1", "::", "unspecified"),
    ],
)
def test_every_peer_has_one_kind(own: str, peer: str, kind: str) -> None:
    assert [PEER_KINDS[bucket] for bucket in peer_kinds(_column(own), _column(peer))] == [kind]


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
        ("203.0.113.64/26", "203.0.113.127", "203.0.113.128"),
        ("203.0.113.7/32", "203.0.113.7", "203.0.113.6"),
        ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
        ("2001:db8::/64", "2001:db8::ffff", "2001:db8:0:1::"),
        ("2001:db8::10/124", "2001:db8::1f", "2001:db8::20"),
    ],
)
def test_prefixes_of_both_versions(network: str, inside: str, outside: str) -> None:
    assert in_network(_column(inside, outside), ip_network(network)).tolist() == [True, False]


def test_the_whole_of_ipv6_holds_everything() -> None:
    assert in_network(_column("8.8.8.8", "2001:db8::1"), ip_network("::/0")).all()


def test_versions_do_not_mix() -> None:
    addresses = _column("192.168.1.1", "fe80::1")
    assert is_v4(addresses).tolist() == [True, False]
    assert same_lan(addresses, addresses[::-1]).tolist() == [False, False]


def test_private_and_unicast() -> None:
    addresses = _column("192.168.1.1", "169.254.1.1", "fe80::1", "8.8.8.8", "224.0.0.1", "0.0.0.0", "10.1.2.255")
    assert is_private(addresses).tolist() == [True, True, True, False, False, False, True]
    assert is_unicast(addresses).tolist() == [True, True, True, True, False, False, False]


def test_keys_of_neighbours_differ_and_columns_do_not_commute() -> None:
    low = np.arange(100_000, dtype=np.uint64)
    keys = hash_columns(np.zeros_like(low), low)
    assert len(np.unique(keys)) == len(low)
    assert hash_columns(low[1:2], low[2:3]) != hash_columns(low[2:3], low[1:2])
