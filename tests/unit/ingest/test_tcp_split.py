"""Where one connection of a 5-tuple ends and the next begins."""

from __future__ import annotations

import numpy as np
import pytest

from packet_builder import Frame, conversation, meter, tcp
from thingwarden.ingest.tcp_split import TcpPackets, split_connections
from thingwarden.ingest.tcp_state import EVENT_ACK, EVENT_SYN, Connection, Side, advance, state_table


def packets(
    events: list[int], at_s: list[float], seq: list[int], *, open_state: int = 0, open_s: float = 0.0
) -> TcpPackets:
    """Packets of one key, all from its lower endpoint unless the event says otherwise."""
    count = len(events)
    return TcpPackets(
        is_first=np.arange(count) == 0,
        at_s=np.array(at_s, dtype=np.float64),
        event=np.array(events, dtype=np.uint8),
        is_flipped=np.zeros(count, dtype=np.bool_),
        seq=np.array(seq, dtype=np.uint32),
        ack=np.zeros(count, dtype=np.uint32),
        open_state=np.full(count, open_state),
        open_expires_at_s=np.full(count, open_s),
        open_orig_is_upper=np.zeros(count, dtype=np.uint8),
        open_start_seq=np.zeros((count, 2), dtype=np.uint32),
    )


def test_a_key_with_one_packet_takes_the_same_way_as_one_with_two() -> None:
    one = split_connections(packets([EVENT_SYN], [0.0], [5]))
    two = split_connections(packets([EVENT_SYN, EVENT_SYN], [0.0, 1.0], [5, 5]))
    assert [column[0] for column in one] == [column[0] for column in two]


def test_an_attempt_ends_a_fixed_time_after_its_first_packet() -> None:
    _, _, expires_at_s = split_connections(packets([EVENT_SYN, EVENT_SYN], [10.0, 12.0], [5, 5]))
    assert expires_at_s.tolist() == [15.0, 15.0]


def test_an_open_attempt_keeps_its_end_across_chunks() -> None:
    table = state_table()
    sent = table.successor[EVENT_SYN]
    begins, _, expires_at_s = split_connections(packets([EVENT_SYN], [12.0], [0], open_state=sent, open_s=15.0))
    assert (begins.tolist(), expires_at_s.tolist()) == ([False], [15.0])


def test_an_open_attempt_that_ran_out_is_not_continued() -> None:
    sent = state_table().successor[EVENT_SYN]
    begins, _, expires_at_s = split_connections(packets([EVENT_SYN], [15.0], [0], open_state=sent, open_s=15.0))
    assert (begins.tolist(), expires_at_s.tolist()) == ([True], [20.0])


def test_an_established_connection_ends_after_idling() -> None:
    assert advance(Connection(), EVENT_ACK).orig != Side()
    _, _, expires_at_s = split_connections(packets([EVENT_ACK, EVENT_ACK], [0.0, 100.0], [5, 5]))
    assert expires_at_s.tolist() == [300.0, 400.0]


@pytest.mark.parametrize(
    ("later", "flow_count"),
    [
        (tcp(5.0, "A", 107, 909), 1),
        (tcp(5.7, "A", 107, 909), 2),
        (tcp(2.0, "S", 100), 2),
        (tcp(2.0, "SA", 900, 101, from_client=False), 1),
    ],
)
def test_what_follows_a_close(later: Frame, flow_count: int) -> None:
    assert len(meter([*conversation(), later])) == flow_count


def test_a_syn_inside_a_connection_with_its_own_number_is_a_retransmission() -> None:
    assert len(meter([*conversation()[:4], tcp(0.5, "S", 100)])) == 1
    assert len(meter([*conversation()[:4], tcp(0.5, "S", 101)])) == 2
