"""The TCP table: closed, all states reachable, and Zeek's names for where a connection ends."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.domain.flow import CONN_STATES
from thingwarden.ingest.tcp_state import (
    EVENT_ACK,
    EVENT_COUNT,
    EVENT_FIN,
    EVENT_IS_RESP,
    EVENT_PAYLOAD,
    EVENT_RST,
    EVENT_SYN,
    Connection,
    Endpoint,
    Lifetime,
    advance,
    events_from_flags,
    lifetime,
    name_state,
    state_table,
)

BITS = {"S": EVENT_SYN, "F": EVENT_FIN, "R": EVENT_RST, "A": EVENT_ACK, "P": EVENT_PAYLOAD, "<": EVENT_IS_RESP}


def play(*packets: str) -> Connection:
    """A connection after these packets; ``<`` marks the responder's."""
    connection = Connection()
    for packet in packets:
        connection = advance(connection, sum(BITS[letter] for letter in packet))
    return connection


def test_the_table_is_the_function() -> None:
    table = state_table()
    connection, number = Connection(), 0
    for packet in ("S", "<SA", "A", "PA", "<PA", "FA", "<FA", "A"):
        event = sum(BITS[letter] for letter in packet)
        connection, number = advance(connection, event), table.successor[number * EVENT_COUNT + event]
        assert tuple(table.endpoint[number]) == (connection.orig.state, connection.resp.state)
        assert table.lifetime[number] == lifetime(connection)


def test_the_table_is_closed_and_every_state_is_reached() -> None:
    table = state_table()
    count = len(table.lifetime)
    assert len(table.successor) == count * EVENT_COUNT
    assert set(table.successor) | {0} == set(range(count))


def test_resets_from_both_sides_end_every_connection() -> None:
    table = state_table()
    for number in range(len(table.lifetime)):
        after = table.successor[number * EVENT_COUNT + EVENT_RST]
        after = table.successor[after * EVENT_COUNT + (EVENT_RST | EVENT_IS_RESP)]
        assert table.lifetime[after] == Lifetime.CLOSING


def test_repeating_a_plain_packet_changes_nothing() -> None:
    table = state_table()
    plain = [event for event in range(EVENT_COUNT) if not event & (EVENT_SYN | EVENT_FIN | EVENT_RST)]
    for number in range(len(table.lifetime)):
        for event in plain:
            once = table.successor[number * EVENT_COUNT + event]
            assert table.successor[once * EVENT_COUNT + event] == once


@pytest.mark.parametrize(
    ("packets", "state"),
    [
        (["S"], "S0"),
        (["S", "<SA"], "S1"),
        (["S", "<SA", "A", "FA"], "S2"),
        (["S", "<SA", "A", "<FA"], "S3"),
        (["S", "<SA", "A", "FA", "<FA"], "SF"),
        (["S", "<RA"], "REJ"),
        (["S", "<SA", "A", "R"], "RSTO"),
        (["S", "<SA", "A", "<R"], "RSTR"),
        (["<SA", "<R"], "RSTRH"),
        (["S", "F"], "SH"),
        (["<SA", "<F"], "SHR"),
        (["A", "<A"], "OTH"),
        (["<SA", "A", "FA", "<FA"], "SF"),
        (["S", "<SA", "A", "<FA", "<R", "FA"], "SF"),
        (["S", "<A", "<SA", "A"], "S1"),
    ],
)
def test_names_of_ends(packets: list[str], state: str) -> None:
    assert name_state(play(*packets), has_payload=True, is_bare_syn_reset=False) == state


def test_a_bare_syn_then_reset_has_its_own_name() -> None:
    assert name_state(play("S", "R"), has_payload=False, is_bare_syn_reset=True) == "RSTOS0"
    assert name_state(play("S", "R"), has_payload=False, is_bare_syn_reset=False) == "OTH"


def test_every_conn_state_but_unknown_can_occur() -> None:
    table = state_table()
    assert set(np.unique(table.conn_state)) == set(range(1, len(CONN_STATES)))


def test_lifetimes() -> None:
    assert lifetime(play("S")) == Lifetime.ATTEMPT
    assert lifetime(play("S", "<SA")) == Lifetime.ESTABLISHED
    assert lifetime(play("A")) == Lifetime.ESTABLISHED
    assert lifetime(play("S", "<SA", "A", "FA")) == Lifetime.ESTABLISHED
    assert lifetime(play("S", "<SA", "A", "FA", "<FA")) == Lifetime.CLOSING
    assert lifetime(play("S", "<RA")) == Lifetime.CLOSING


def test_a_reset_after_both_fins_changes_nothing() -> None:
    closed = play("S", "<SA", "A", "FA", "<FA")
    assert advance(closed, EVENT_RST) == closed
    assert closed.orig.state == Endpoint.CLOSED


def test_events_from_flag_bytes() -> None:
    flags = np.array([0x02, 0x12, 0x18, 0x11, 0x14, 0xC2], dtype=np.uint8)
    payload_bytes = np.array([0, 0, 5, 0, 0, 0])
    expected = [
        EVENT_SYN,
        EVENT_SYN | EVENT_ACK,
        EVENT_ACK | EVENT_PAYLOAD,
        EVENT_FIN | EVENT_ACK,
        EVENT_RST | EVENT_ACK,
        EVENT_SYN,
    ]
    assert events_from_flags(flags, payload_bytes).tolist() == expected
