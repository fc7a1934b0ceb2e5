"""Whose sentence a word belongs to, and in which order words come."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import numpy as np
import pytest

from flow_builder import VOCABULARY, column, join_chunks, random_flows
from thingwarden.domain.flow import CONN_STATE_CODE, FlowBatch
from thingwarden.domain.word import UNATTRIBUTED, WordBatch
from thingwarden.encode import sentence
from thingwarden.encode.sentence import (
    HOUSEKEEPING_EVENTS,
    NEW_DEVICES_PER_HOUSEKEEPING,
    SentenceEncoder,
    local_ends,
)
from thingwarden.encode.vocabulary import CLOSE_FIELDS, DIRECTIONS, FIELD_INDEX, RHYTHM_FIELDS
from thingwarden.encode.word import known_at_s
from thingwarden.testing import START_S, FlowSpec, build_flows

STRANGER, HOST, OTHER = "203.0.113.5", "192.168.1.10", "192.168.1.20"


def encode(specs: list[FlowSpec], encoder: SentenceEncoder | None = None) -> WordBatch:
    return join_chunks((encoder or SentenceEncoder(VOCABULARY)).encode(build_flows(specs)))


def test_a_flow_gives_an_opening_and_a_closing_word() -> None:
    words = encode([FlowSpec(duration_s=2.0)])
    assert words.is_close.tolist() == [False, True]
    assert words.known_at_s.tolist() == [START_S, START_S + 7.0]
    assert words.starts_sentence.tolist() == [True, False]
    assert words.device.tolist() == [1, 1]


def test_words_come_when_they_can_be_known_and_openings_before_closings() -> None:
    flows = random_flows(1, 300)
    words = join_chunks(SentenceEncoder(VOCABULARY).encode(flows, 50))
    assert (np.diff(words.known_at_s) >= 0).all()
    expected_s = np.where(words.is_close, known_at_s(flows)[words.flow], flows.started_at_s[words.flow])
    np.testing.assert_array_equal(words.known_at_s, expected_s)
    same_instant = np.diff(words.known_at_s) == 0
    assert not (same_instant & words.is_close[:-1] & ~words.is_close[1:]).any()


def test_a_flow_within_the_network_is_a_word_in_both_sentences() -> None:
    words = encode([FlowSpec(orig=OTHER), FlowSpec(at_s=1.0, orig=HOST, resp=OTHER)])
    both = words.flow == 1
    assert len(set(words.device[both & ~words.is_close].tolist())) == 2
    assert UNATTRIBUTED not in words.device[both & words.is_close]
    directions = np.array(DIRECTIONS)[column(words, "direction")]
    assert set(directions[both & words.is_orig]) == {"lan_orig"}
    assert set(directions[both & ~words.is_orig]) == {"lan_resp"}


def test_a_responder_is_a_device_only_once_it_answered() -> None:
    words = encode([FlowSpec(orig=STRANGER, resp=HOST)])
    assert words.is_orig.tolist() == [False, False]
    assert words.device.tolist() == [UNATTRIBUTED, 1]
    assert words.starts_sentence.tolist() == [False, True]


def test_a_host_that_never_answers_is_no_device() -> None:
    encoder = SentenceEncoder(VOCABULARY)
    words = encode([FlowSpec(orig=STRANGER, resp=HOST, conn_state="S0", resp_bytes=0)], encoder)
    assert words.device.tolist() == [UNATTRIBUTED, UNATTRIBUTED]
    assert len(encoder.devices) == 1


def test_a_flow_with_oneself_is_told_once() -> None:
    assert encode([FlowSpec(orig=HOST, resp=HOST)]).is_orig.tolist() == [True, True]


def test_a_mac_is_one_device_whatever_its_address() -> None:
    encoder = SentenceEncoder(VOCABULARY)
    mac = 0x02000000000A
    specs = [
        FlowSpec(orig="0.0.0.0", resp="255.255.255.255", proto="udp", orig_port=68, resp_port=67, orig_mac=mac),
        FlowSpec(at_s=1.0, orig=HOST, orig_mac=mac),
        FlowSpec(at_s=2.0, orig=OTHER, orig_mac=mac),
    ]
    assert set(encode(specs, encoder).device.tolist()) == {1}
    assert (encoder.devices[1].mac, encoder.devices[1].name) == ("02:00:00:00:00:0a", "0.0.0.0")


def test_who_is_local_follows_source_settings_and_address() -> None:
    flows = build_flows([FlowSpec(orig="198.51.100.7", resp=HOST), FlowSpec(orig=HOST, resp="239.255.255.250")])
    assert local_ends(flows).tolist() == [[False, True], [True, False]]
    assert local_ends(flows, (ip_network("198.51.100.0/24"),)).tolist() == [[True, True], [True, False]]
    flagged = replace(flows, orig_is_local=np.array([1, -1], dtype=np.int8))
    assert local_ends(flagged).tolist() == [[True, True], [True, False]]


def _flood(count: int) -> FlowBatch:
    flows = build_flows([FlowSpec(conn_state="S0", resp_bytes=0)]).take(np.zeros(count, dtype=np.int64))
    spoofed = np.stack([np.zeros(count), (0xFFFF << 32 | 0x0A000000) + np.arange(count)], axis=1).astype(np.uint64)
    return replace(flows, started_at_s=START_S + 1.0 + np.arange(count) / 1e4, orig_address=spoofed)


def test_a_spoofed_flood_makes_few_devices_and_takes_nobodys_sentence() -> None:
    count = 20_000
    known = build_flows([FlowSpec(at_s=0.5 * step) for step in range(12)])
    encoder = SentenceEncoder(VOCABULARY)
    words = join_chunks(encoder.encode(FlowBatch.concatenate([known, _flood(count)])))
    passed = -(-2 * (count + len(known)) // HOUSEKEEPING_EVENTS)
    assert len(encoder.devices) <= 1 + passed * NEW_DEVICES_PER_HOUSEKEEPING
    assert (words.device == UNATTRIBUTED).mean() > 0.85
    assert set(words.device[words.flow < len(known)].tolist()) == {1}


def test_a_full_device_table_forgets_the_silent_and_starts_whoever_follows_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sentence, "DEVICE_LIMIT", 5)
    monkeypatch.setattr(sentence, "HOUSEKEEPING_EVENTS", 16)
    flows = random_flows(3, 200, hosts=20)
    encoder = SentenceEncoder(VOCABULARY)
    words = join_chunks(encoder.encode(flows))
    assert encoder.evicted_count > 5
    owner: dict[int, object] = {}
    for device, row, is_orig, starts in zip(
        words.device.tolist(), words.flow, words.is_orig, words.starts_sentence, strict=True
    ):
        own = (flows.orig_address if is_orig else flows.resp_address)[row].tolist()
        mac = int(flows.orig_mac[row]) if is_orig else 0
        if device != UNATTRIBUTED:
            owner[device] = (mac or own) if starts else owner[device]
            assert owner[device] == (mac or own)


def test_a_state_is_cleared_once_for_each_device() -> None:
    words = join_chunks(SentenceEncoder(VOCABULARY).encode(random_flows(2, 400), 33))
    started = words.device[words.starts_sentence].tolist()
    assert sorted(started) == sorted(set(words.device.tolist()) - {UNATTRIBUTED})


def test_without_time_each_flow_is_a_sentence_without_rhythm() -> None:
    flows = replace(random_flows(4, 50), is_timed=False)
    words = join_chunks(SentenceEncoder(VOCABULARY).encode(flows, 8))
    assert words.flow.tolist() == np.repeat(np.arange(50), 2).tolist()
    assert words.starts_sentence.tolist() == [True, False] * 50
    assert not words.fields[:, [FIELD_INDEX[name] for name in RHYTHM_FIELDS]].any()
    assert not words.fields[::2, [FIELD_INDEX[name] for name in CLOSE_FIELDS]].any()
    assert not words.known_at_s.any() and not words.device.any()


def test_no_flows_give_no_words() -> None:
    assert list(SentenceEncoder(VOCABULARY).encode(FlowBatch.empty())) == []


def test_link_local_and_private_hosts_are_devices_and_groups_are_not() -> None:
    encoder = SentenceEncoder(VOCABULARY)
    encode([FlowSpec(orig="fe80::1", resp="ff02::fb", proto="udp"), FlowSpec(at_s=1.0, orig="10.1.1.1")], encoder)
    assert [device.name for device in encoder.devices] == ["unattributed", "fe80::1", "10.1.1.1"]


def test_the_outcome_is_only_in_the_closing_word() -> None:
    words = encode([FlowSpec(conn_state="REJ", resp_bytes=0)])
    assert column(words, "conn_state") == [0, CONN_STATE_CODE["REJ"]]
