"""The frames are what they claim to be: ordinary short flows, attacks whose packets are numbered."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

import numpy as np
import pytest

from thingwarden.bench.latency_traffic import (
    CROWD,
    Sending,
    attack_number,
    attacker_address,
    crowd_frames,
    flood_frames,
    scan_frames,
)
from thingwarden.domain.flow import CONN_STATES, FlowBatch, address_from_words
from thingwarden.ingest.flow_table import FlowTable
from thingwarden.ingest.link_header import LINK_ETHERNET
from thingwarden.ingest.metering import finish_flows, meter_packets
from thingwarden.ingest.packets import PADDING_BYTES, FrameBatch, decode_frames
from thingwarden.lab.prefix import INTERNET, LAN


def flows_of(sending: Sending) -> FlowBatch:
    """What a meter makes of the frames; none may be malformed."""
    lengths = np.array([len(frame) for frame in sending.frames])
    frames = FrameBatch(
        buffer=np.frombuffer(b"".join(sending.frames) + bytes(PADDING_BYTES), dtype=np.uint8),
        starts=np.cumsum(lengths) - lengths,
        captured_bytes=lengths,
        at_s=1.7e9 + sending.at_s,
        link_type=LINK_ETHERNET,
    )
    counts: Counter[str] = Counter()
    table, ended = meter_packets(FlowTable.empty(), decode_frames(frames, counts))
    assert not +counts
    return FlowBatch.concatenate([ended, finish_flows(table)])


def test_the_crowd_makes_as_many_whole_flows_as_asked_for() -> None:
    flows = flows_of(crowd_frames(500.0, 2.0))
    assert len(flows) == 1000
    assert {CONN_STATES[state] for state in flows.conn_state.tolist()} == {"SF"}
    assert set(flows.service.tolist()) == {b"dns", b"ssl"}
    origins = {address_from_words(*halves) for halves in flows.orig_address.tolist()}
    assert all(origin in CROWD for origin in origins)
    assert len(origins) > 500


def test_the_same_seed_gives_the_same_frames() -> None:
    assert crowd_frames(50.0, 1.0, 3).frames == crowd_frames(50.0, 1.0, 3).frames
    assert crowd_frames(50.0, 1.0, 3).frames != crowd_frames(50.0, 1.0, 4).frames


@pytest.mark.parametrize("make", [flood_frames, scan_frames])
def test_an_attack_is_one_device_of_the_lan_and_numbered(make: type) -> None:
    sending = make(7, 100.0, 3.0)
    assert [attack_number(frame) for frame in sending.frames] == [(7, number) for number in range(300)]
    assert np.diff(sending.at_s) == pytest.approx(0.01)
    flows = flows_of(sending)
    assert {address_from_words(*halves) for halves in flows.orig_address.tolist()} == {attacker_address(7)}
    assert attacker_address(7) in LAN
    targets = {address_from_words(*halves) for halves in flows.resp_address.tolist()}
    assert all(any(target in prefix for prefix in INTERNET) for target in targets)
    assert len(targets) == (1 if make is flood_frames else 300)


def test_the_checksums_hold() -> None:
    (frame, *_) = flood_frames(1, 10.0, 0.1).frames
    pseudo = frame[26:34] + bytes([0, 6]) + (len(frame) - 34).to_bytes(2, "big")
    for part in (frame[14:34], pseudo + frame[34:]):
        total = sum(int.from_bytes(part[at : at + 2], "big") for at in range(0, len(part), 2))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        assert total == 0xFFFF
    assert ip_address(frame[30:34]) == INTERNET[0][80]


def test_other_frames_carry_no_number() -> None:
    assert attack_number(b"") is None
    assert [attack_number(frame) for frame in crowd_frames(20.0, 1.0).frames if len(frame) > 60] != []
    udp = next(frame for frame in crowd_frames(500.0, 1.0).frames if frame[23] == 17)
    assert attack_number(udp) is None
