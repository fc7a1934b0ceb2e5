"""Flows have the counts, states and ends that Zeek gives them."""

from __future__ import annotations

import numpy as np
import pytest

from packet_builder import (
    CLIENT,
    SERVER,
    Frame,
    conversation,
    ethernet,
    histories,
    icmp,
    ip_packet,
    meter,
    states,
    tcp,
    udp,
    udp_datagram,
)
from thingwarden.domain.flow import CONN_STATES, FlowBatch, address_from_words
from thingwarden.ingest import metering


def test_a_whole_connection_is_one_flow() -> None:
    flows = meter(conversation())
    assert states(flows) == ["SF"]
    assert histories(flows) == ["ShADdFf"]
    assert (flows.orig_bytes[0], flows.resp_bytes[0]) == (5, 7)
    assert (flows.orig_packets[0], flows.resp_packets[0]) == (5, 3)
    assert (flows.orig_ip_bytes[0], flows.resp_ip_bytes[0]) == (205, 127)
    assert str(address_from_words(*flows.orig_address[0])) == CLIENT
    assert str(address_from_words(*flows.resp_address[0])) == SERVER
    assert (flows.orig_port[0], flows.resp_port[0]) == (40_000, 9000)


def test_the_packet_after_both_closed_does_not_extend_the_duration() -> None:
    assert meter(conversation()).duration_s[0] == pytest.approx(0.6, abs=1e-5)


def test_an_instant_flow_has_neither_duration_nor_byte_counts() -> None:
    flows = meter([udp(0.0, b"12345")])
    assert np.isnan(flows.duration_s[0])
    assert (flows.orig_bytes[0], flows.resp_bytes[0]) == (-1, -1)
    assert (flows.orig_packets[0], flows.orig_ip_bytes[0]) == (1, 33)


def test_link_layer_addresses_are_kept() -> None:
    flows = meter([udp(0.0)])
    assert (int(flows.orig_mac[0]), int(flows.resp_mac[0])) == (0x02000000000A, 0x020000000005)


@pytest.mark.parametrize(
    ("frames", "state", "history"),
    [
        ([tcp(0, "S", 1)], "S0", "S"),
        ([tcp(0, "S", 1), tcp(0.1, "RA", 0, 2, from_client=False)], "REJ", "Sr"),
        ([tcp(0, "S", 1), tcp(0.1, "R", 2)], "RSTOS0", "SR"),
        ([tcp(0, "S", 1), tcp(0.1, "F", 2)], "SH", "SF"),
        ([tcp(0, "S", 1), tcp(0.1, "SA", 9, 2, from_client=False)], "S1", "Sh"),
        ([*conversation()[:4], tcp(1, "R", 106)], "RSTO", "ShADR"),
        ([*conversation()[:4], tcp(1, "R", 901, from_client=False)], "RSTR", "ShADr"),
        (conversation()[:6], "S2", "ShADdF"),
        ([*conversation()[:5], tcp(1, "FA", 908, 106, from_client=False)], "S3", "ShADdf"),
        (conversation()[3:5], "OTH", "Dd"),
        ([tcp(0, "FS", 1)], "SH", "Q"),
    ],
)
def test_connection_states(frames: list[Frame], state: str, history: str) -> None:
    flows = meter(frames)
    assert states(flows) == [state]
    assert histories(flows) == [history]


def test_a_syn_ack_from_a_server_port_flips_the_direction() -> None:
    flows = meter([tcp(0, "SA", 9, 2, from_client=False, server_port=80), tcp(0.1, "A", 2, 10, server_port=80)])
    assert histories(flows) == ["^hA"]
    assert str(address_from_words(*flows.orig_address[0])) == CLIENT


def test_a_reply_from_a_udp_server_port_flips_the_direction() -> None:
    flows = meter([udp(0, from_client=False, server_port=53)])
    assert states(flows) == ["SHR"]
    assert histories(flows) == ["^d"]
    assert (flows.orig_packets[0], flows.resp_packets[0]) == (0, 1)


def test_udp_states() -> None:
    assert states(meter([udp(0)])) == ["S0"]
    both = meter([udp(0, b"123"), udp(0.5, b"12345", from_client=False)])
    assert (states(both), histories(both)) == (["SF"], ["Dd"])
    assert (both.orig_bytes[0], both.resp_bytes[0]) == (3, 5)


def test_udp_after_a_minute_of_silence_is_another_flow() -> None:
    assert len(meter([udp(0), udp(59.9), udp(119.0)])) == 1
    assert len(meter([udp(0), udp(60.0)])) == 2


def test_an_unanswered_syn_ends_after_the_attempt_delay() -> None:
    flows = meter([tcp(0, "S", 1), tcp(1, "S", 1), tcp(3, "S", 1), tcp(7, "S", 1)])
    assert flows.orig_packets.tolist() == [3, 1]


def test_a_syn_with_another_number_is_another_connection() -> None:
    flows = meter([tcp(0, "S", 1), tcp(1, "S", 2)])
    assert flows.orig_packets.tolist() == [1, 1]


def test_a_port_reused_after_close_is_another_connection() -> None:
    flows = meter([*conversation(), *conversation(1.0)])
    assert states(flows) == ["SF", "SF"]
    assert flows.orig_packets.tolist() == [5, 5]


def test_an_established_connection_outlives_four_minutes_of_silence_but_not_five() -> None:
    opened = conversation()[:4]
    assert len(meter([*opened, tcp(299.0, "A", 106, 901)])) == 1
    assert len(meter([*opened, tcp(301.0, "A", 106, 901)])) == 2


def test_echo_request_and_reply_are_one_flow_with_type_and_counterpart_as_ports() -> None:
    flows = meter([icmp(0, 8), icmp(0.1, 0, from_client=False)])
    assert (flows.orig_port[0], flows.resp_port[0]) == (8, 0)
    assert (flows.orig_bytes[0], flows.resp_bytes[0]) == (8, 8)
    assert states(flows) == ["OTH"]
    assert histories(flows) == [""]


def test_an_icmp_type_without_counterpart_is_one_way() -> None:
    flows = meter([icmp(0, 3, 1), icmp(0.1, 3, 1, from_client=False)])
    assert len(flows) == 2
    assert (flows.orig_port.tolist(), flows.resp_port.tolist()) == ([3, 3], [1, 1])


def test_ipv6_flows_are_metered() -> None:
    body = udp_datagram(5000, 6000, b"abc")
    flows = meter([Frame(0, ethernet(ip_packet("fd00::1", "fd00::2", 17, body))) for _ in range(2)])
    assert str(address_from_words(*flows.orig_address[0])) == "fd00::1"
    assert flows.orig_ip_bytes[0] == 2 * (40 + 11)


def test_uids_are_the_same_for_the_same_packets_and_differ_between_flows() -> None:
    frames = [udp(0, client_port=port) for port in range(1000, 1100)]
    uids = meter(frames).uid.tolist()
    assert uids == meter(frames).uid.tolist()
    assert len(set(uids)) == 100
    assert all(uid.startswith(b"C") and len(uid) == 18 for uid in uids)


def test_open_flows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "MAX_OPEN_FLOWS", 10)
    flows = meter([*(tcp(0.01 * n, "S", n, client_port=1000 + n) for n in range(50)), udp(2.0)])
    assert len(flows) == 51
    assert flows.orig_packets.tolist() == [1] * 51


def milestones(flows: FlowBatch) -> list[tuple[float, int, int, str, int]]:
    """Elapsed seconds, packets of both ends, state and letters of history."""
    noted = flows.milestones
    assert noted is not None
    names = [CONN_STATES[code] for code in noted.conn_state]
    columns = (noted.elapsed_s.round(6), noted.orig_packets, noted.resp_packets, names, noted.history_letters)
    return list(zip(*(list(column) for column in columns), strict=True))


def test_a_flow_is_looked_at_by_packets_and_by_age_and_each_packet_once() -> None:
    flows = meter([udp(0.02 * number) for number in range(300)])
    assert milestones(flows) == [
        (0.06, 4, 0, "S0", 1), (0.3, 16, 0, "S0", 1), (1.0, 51, 0, "S0", 1), (1.26, 64, 0, "S0", 1),
        (5.1, 256, 0, "S0", 1),
    ]  # fmt: skip
    late = meter([udp(0.0), udp(12.0), udp(13.0), udp(70.0, from_client=False)])
    assert milestones(late) == [(12.0, 2, 0, "S0", 1), (70.0, 3, 1, "SF", 2)]


def test_a_milestone_says_what_a_connection_was_then() -> None:
    flows = meter(conversation())
    (noted,) = milestones(flows)
    assert noted == (0.3, 3, 1, "S1", 4)
    assert flows.milestones is not None
    assert (flows.milestones.orig_bytes[0], flows.milestones.resp_bytes[0]) == (5, 0)
    assert histories(flows)[0][: noted[4]] == "ShAD"


def test_a_connection_that_both_ends_closed_reaches_no_more_milestones() -> None:
    after = [tcp(0.8 + 0.1 * number, "A", 107, 909) for number in range(20)]
    assert len(milestones(meter([*conversation(), *after]))) == 1


def test_short_flows_have_none() -> None:
    assert milestones(meter([udp(0.0), udp(0.5), tcp(0.0, "S", 1)])) == []
