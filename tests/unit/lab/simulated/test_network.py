"""Hosts are found by their addresses, on the right side of the gateway, and are silent without power."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.lab.condition import find_condition
from thingwarden.lab.simulated.capture import ROW, pack_rest
from thingwarden.lab.simulated.clock import Clock
from thingwarden.lab.simulated.network import Host, Network, Place, group_mac, is_group, is_on_lan

CAMERA, PHONE, CLOUD = "10.77.0.21", "10.77.0.41", "203.0.113.10"


@pytest.fixture
def network() -> Network:
    made = Network(Clock(), find_condition("wired"), "1")
    made.add_host("camera", Place.LAN, "02:77:00:00:00:21", (CAMERA, "2001:db8:77::21"))
    made.add_host("phone", Place.LAN, "02:77:00:00:00:41", (PHONE,))
    made.add_host("internet", Place.INTERNET, "02:77:00:00:00:01", ("192.0.2.1",))
    made.add_face(made.find("192.0.2.1"), "vendor.example", (CLOUD,))
    return made


def _first(lane: bytes) -> np.void:
    row: np.void = np.frombuffer(lane + pack_rest(0.0, 0, 0, 0, 0, 0, 1, b""), dtype=ROW)[0]
    return row


def test_an_address_leads_to_its_host(network: Network) -> None:
    assert network.find(CAMERA).name == "camera"
    assert network.find(CLOUD).name == "vendor.example"
    assert network.find("10.77.0.99") is network.nobody
    assert network.find("203.0.113.99") is network.nowhere
    assert not network.nowhere.is_up


def test_a_moved_host_leaves_its_old_address(network: Network) -> None:
    camera = network.find(CAMERA)
    network.move(camera, ("10.77.0.22",))
    assert network.find("10.77.0.22") is camera
    assert network.find(CAMERA) is network.nobody


def test_a_face_shares_the_sockets_of_its_host_but_not_its_fate(network: Network) -> None:
    face, host = network.find(CLOUD), network.find("192.0.2.1")
    assert face.listeners is host.listeners
    face.outward.is_cut = True
    assert not host.outward.is_cut


def test_the_capture_sees_the_lan_and_what_crosses_the_gateway(network: Network) -> None:
    camera, phone, cloud = (network.find(address) for address in (CAMERA, PHONE, CLOUD))

    def lane(sender: Host, receiver: Host) -> bytes:
        return network.lane(sender, (sender.addresses[0], 1), receiver, (receiver.addresses[0], 2), 6, 7)

    assert lane(camera, phone) and lane(camera, cloud) and lane(network.gateway, camera)
    assert not lane(camera, camera) and not lane(cloud, network.gateway) and not lane(cloud, network.find("192.0.2.1"))
    assert int(_first(lane(camera, cloud))["dst_mac"]) == network.gateway.mac
    assert int(_first(lane(cloud, camera))["src_mac"]) == network.gateway.mac
    assert int(_first(lane(camera, phone))["label"]) == 7


def test_a_neighbour_is_forgotten_some_time_after_its_power(network: Network) -> None:
    camera, phone = network.find(CAMERA), network.find(PHONE)
    assert network.is_neighbour_known(camera, phone)
    phone.is_up, phone.down_since_s = False, 0.0
    assert network.is_neighbour_known(camera, phone)
    network.clock.run_until(60.0)
    assert not network.is_neighbour_known(camera, phone)
    assert network.is_neighbour_known(camera, network.nowhere)


def test_nothing_passes_without_power_or_through_a_cut(network: Network) -> None:
    camera, phone = network.find(CAMERA), network.find(PHONE)
    assert network.can_pass(camera, phone)
    phone.inward.is_cut = True
    assert not network.can_pass(camera, phone)
    assert network.can_pass(phone, camera)
    camera.is_up = False
    assert not network.can_pass(phone, camera)


def test_ports_for_clients_are_free_and_of_the_kernels_range(network: Network) -> None:
    camera = network.find(CAMERA)
    assert all(32768 <= camera.free_tcp_port() < 61000 for _ in range(200))
    assert {camera.free_tcp_port() % 2 for _ in range(50)} == {0}
    assert all(32768 <= camera.free_udp_port(4) < 61000 for _ in range(200))


def test_a_host_without_ipv6_says_so(network: Network) -> None:
    with pytest.raises(OSError, match="no IPv6"):
        network.find(PHONE).own_address(6)


def test_link_local_addresses_follow_from_the_mac(network: Network) -> None:
    assert network.find(CAMERA).link_local == "fe80::77:ff:fe00:21"


def test_groups_and_the_lan_are_told_by_address() -> None:
    assert is_group("224.0.0.251") and is_group("255.255.255.255") and is_group("ff02::fb")
    assert not is_group("10.77.0.1")
    assert is_on_lan("10.77.0.200") and is_on_lan("2001:db8:77::9") and is_on_lan("fe80::1")
    assert not is_on_lan("203.0.113.1")
    assert group_mac("224.0.0.251") == 0x0100_5E00_00FB
    assert group_mac("ff02::1:ff00:16") == 0x3333_FF00_0016
    assert group_mac("255.255.255.255") == 0xFFFF_FFFF_FFFF


def test_programs_notice_late_and_now_and_then_very_late(network: Network) -> None:
    lags_s = np.array([network.lag_s() for _ in range(5000)])
    assert lags_s.min() > 3e-5
    assert np.median(lags_s) < 2e-4
    assert lags_s.max() > 1e-3
    efforts_s = np.array([network.effort_s() for _ in range(1000)])
    assert 3e-5 < efforts_s.min() < np.median(efforts_s) < 2e-4
