"""The fields that a flow shows by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flow_builder import VOCABULARY
from thingwarden.domain.flow import CONN_STATE_CODE, FlowBatch
from thingwarden.encode.vocabulary import (
    CLOSE_FIELDS,
    DIRECTIONS,
    FIELD_INDEX,
    FIELD_NAMES,
    LEARNED_FIELDS,
    NAMED_PORTS,
    ORIG_PORT_CLASSES,
    PROTO_NAMES,
    RHYTHM_FIELDS,
    collapse_service,
)
from thingwarden.encode.word import (
    add_outcome,
    code_mask,
    directions,
    edge_buckets,
    is_failed,
    known_at_s,
    learned_buckets,
    open_buckets,
)
from thingwarden.testing import START_S, FlowSpec, build_flows


def _opened(flows: FlowBatch) -> np.ndarray:
    one = np.ones(len(flows), dtype=np.uint8)
    return open_buckets(flows, one, one)


def _closed(flows: FlowBatch) -> np.ndarray:
    words = _opened(flows)
    add_outcome(words, flows, VOCABULARY)
    return words


def _field(words: np.ndarray, name: str) -> list[int]:
    return words[:, FIELD_INDEX[name]].tolist()


@pytest.mark.parametrize(
    ("proto", "state", "delay_s"),
    [("tcp", "SF", 5.0), ("tcp", "S0", 5.0), ("tcp", "RSTO", 0.1), ("tcp", "S1", 300.0), ("tcp", "OTH", 300.0),
     ("udp", "SF", 60.0), ("icmp", "OTH", 60.0)],
)  # fmt: skip
def test_an_outcome_is_known_after_the_timeout_of_its_state(proto: str, state: str, delay_s: float) -> None:
    flows = build_flows([FlowSpec(proto=proto, conn_state=state, duration_s=2.0)])
    assert known_at_s(flows).tolist() == [START_S + 2.0 + delay_s]


def test_an_unknown_duration_delays_nothing() -> None:
    flows = build_flows([FlowSpec(duration_s=float("nan"))])
    assert known_at_s(flows).tolist() == [START_S + 5.0]


def test_edges_belong_to_the_bucket_above_them() -> None:
    assert edge_buckets(np.array([-1, 0.5, 1, 1.5, 2, 9]), (1, 2)).tolist() == [1, 1, 2, 2, 3, 3]


def test_failed_contacts_are_those_that_came_to_nothing() -> None:
    states = ["SF", "S1", "RSTO", "OTH", "S0", "REJ", "SH"]
    flows = build_flows([FlowSpec(conn_state=state) for state in states])
    assert is_failed(flows).tolist() == [False, False, False, False, True, True, True]


def test_a_code_table_marks_the_named_states_only() -> None:
    assert np.flatnonzero(code_mask(("SF", "S0"))).tolist() == sorted([CONN_STATE_CODE["SF"], CONN_STATE_CODE["S0"]])


def test_named_ports_have_buckets_of_their_own_and_others_share() -> None:
    ports = [*NAMED_PORTS, 10_001, 10_002, 60_001, 60_002]
    buckets = _field(_opened(build_flows([FlowSpec(resp_port=port) for port in ports])), "resp_port")
    assert len(set(buckets[: len(NAMED_PORTS)])) == len(NAMED_PORTS)
    assert buckets[-4] == buckets[-3] != buckets[-2] == buckets[-1]


def test_icmp_shows_its_type_where_others_show_a_port() -> None:
    flows = build_flows(
        [FlowSpec(proto="icmp", orig_port=8, resp_port=0), FlowSpec(proto="icmp", orig_port=3, resp_port=3),
         FlowSpec(proto="icmp", orig_port=40, resp_port=0), FlowSpec(proto="icmp", orig_port=41, resp_port=9)]
    )  # fmt: skip
    echo, unreachable, rare, other = _field(_opened(flows), "resp_port")
    assert echo != unreachable and rare == other
    assert set(_field(_opened(flows), "orig_port")) == {ORIG_PORT_CLASSES.index("icmp")}


@pytest.mark.parametrize(
    ("port", "name"),
    [(53, "dns"), (68, "dhcp"), (123, "ntp"), (5353, "mdns"), (443, "same_as_resp"), (22, "system"),
     (8080, "registered"), (40_000, "ephemeral_linux"), (61_000, "ephemeral_high")],
)  # fmt: skip
def test_originator_ports_are_classes(port: int, name: str) -> None:
    assert _field(_opened(build_flows([FlowSpec(orig_port=port)])), "orig_port") == [ORIG_PORT_CLASSES.index(name)]


def test_protocols_beyond_the_named_are_other() -> None:
    flows = replace(build_flows([FlowSpec()]), proto=np.array([47], dtype=np.uint8))
    assert _field(_opened(flows), "proto") == [PROTO_NAMES.index("other")]


def test_an_opening_word_leaves_outcome_and_rhythm_masked() -> None:
    words = _opened(build_flows([FlowSpec()]))
    silent = [FIELD_INDEX[name] for name in (*CLOSE_FIELDS, *LEARNED_FIELDS, *RHYTHM_FIELDS)]
    assert not words[:, silent].any()
    assert words.shape == (1, len(FIELD_NAMES))


def test_zero_is_measured_in_a_dialogue_and_unknown_without_one() -> None:
    flows = build_flows([FlowSpec(conn_state=state, resp_bytes=0) for state in ("SF", "S0")])
    assert _field(_closed(flows), "resp_bytes") == [1, 0]


def test_a_token_is_rare_where_training_never_saw_it() -> None:
    column = np.array([b"", b"http", b"gopher", b"-"], dtype="S24")
    assert learned_buckets(column, (b"dns", b"http"), collapse_service).tolist() == [0, 3, 1, 0]


def test_direction_tells_the_side_and_whether_both_are_local() -> None:
    is_orig, both = np.array([True, False, True, False]), np.array([False, False, True, True])
    assert [DIRECTIONS[bucket] for bucket in directions(is_orig, both)] == ["orig", "resp", "lan_orig", "lan_resp"]


def test_what_was_not_measured_is_masked_even_in_a_dialogue() -> None:
    flows = build_flows([FlowSpec(conn_state="SF", resp_bytes=-1, duration_s=float("nan")), FlowSpec(conn_state="SF")])
    assert _field(_closed(flows), "resp_bytes")[0] == 0
    assert _field(_closed(flows), "duration")[0] == 0
    assert _field(_closed(flows), "duration")[1] > 0
