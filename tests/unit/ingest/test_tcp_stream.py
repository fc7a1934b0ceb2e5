"""Payload by sequence numbers: lost bytes count, repeated ones do not, wraps are followed."""

from __future__ import annotations

from packet_builder import Frame, histories, meter, tcp

SERVED = {"from_client": False}


def opened(orig: int = 100, resp: int = 900) -> list[Frame]:
    return [
        tcp(0.0, "S", orig),
        tcp(0.1, "SA", resp, orig + 1, from_client=False),
        tcp(0.2, "A", orig + 1, resp + 1),
    ]


def test_a_retransmission_counts_once_and_is_noted() -> None:
    flows = meter([*opened(), tcp(0.3, "A", 101, 901, bytes(10)), tcp(0.4, "A", 101, 901, bytes(10))])
    assert flows.orig_bytes.tolist() == [10]
    assert histories(flows) == ["ShADT"]


def test_segments_out_of_order_count_as_retransmission_as_in_zeek() -> None:
    flows = meter([*opened(), tcp(0.3, "A", 111, 901, bytes(10)), tcp(0.4, "A", 101, 901, bytes(10))])
    assert flows.orig_bytes.tolist() == [20]
    assert histories(flows) == ["ShADT"]


def test_bytes_over_a_gap_count() -> None:
    flows = meter([*opened(), tcp(0.3, "A", 101, 901, bytes(10)), tcp(0.4, "A", 1101, 901, bytes(10))])
    assert flows.orig_bytes.tolist() == [1010]


def test_bytes_that_only_the_peer_acknowledged_count() -> None:
    flows = meter([*opened(), tcp(0.3, "A", 901, 501, from_client=False)])
    assert flows.orig_bytes.tolist() == [400]


def test_sequence_numbers_wrap() -> None:
    start = 2**32 - 5
    flows = meter([*opened(orig=start), tcp(0.3, "A", start + 1, 901, bytes(4)), tcp(0.4, "A", 0, 901, bytes(100))])
    assert flows.orig_bytes.tolist() == [104]
    assert histories(flows) == ["ShAD"]


def test_streams_beyond_four_gigabytes() -> None:
    jump = 2**30
    frames = [tcp(0.3 + n, "A", (101 + n * jump) % 2**32, 901, bytes(10)) for n in range(7)]
    assert meter([*opened(), *frames]).orig_bytes.tolist() == [6 * jump + 10]


def test_a_wild_reset_does_not_count() -> None:
    flows = meter([*opened(), tcp(0.3, "A", 101, 901, bytes(10)), tcp(0.4, "R", 2_000_000_000)])
    assert flows.orig_bytes.tolist() == [10]


def test_a_near_reset_counts_what_was_lost_before_it() -> None:
    flows = meter([*opened(), tcp(0.3, "A", 101, 901, bytes(10)), tcp(0.4, "R", 611)])
    assert flows.orig_bytes.tolist() == [510]


def test_a_connection_met_in_its_middle_counts_from_there() -> None:
    flows = meter([tcp(0.0, "A", 5000, 1, bytes(10)), tcp(0.1, "A", 5010, 1, bytes(10))])
    assert flows.orig_bytes.tolist() == [20]


def test_neither_syn_nor_fin_are_payload() -> None:
    flows = meter([*opened(), tcp(0.3, "FA", 101, 901), tcp(0.4, "FA", 901, 102, from_client=False)])
    assert (flows.orig_bytes.tolist(), flows.resp_bytes.tolist()) == ([0], [0])
