"""Whatever bytes come on the link, nothing breaks; and how they are cut into chunks changes nothing."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from link_builder import advertises, announces, answers, asks, leases, offers_way_out, read, solicits
from packet_builder import Frame
from thingwarden.detect.link_watch import MAX_CLAIMANTS, LinkWatch
from thingwarden.domain.link_layer import LinkKind
from thingwarden.ingest.link_header import LINK_TYPES
from thingwarden.ingest.link_layer import decode_link_layer
from thingwarden.ingest.packets import PADDING_BYTES, FrameBatch, decode_layers, decode_packets

HOSTS = [(f"02:00:00:00:00:{number:02x}", f"192.168.1.{number}") for number in (1, 10, 66)]
HOSTS6 = [(mac, f"fe80::{number}") for number, (mac, _) in enumerate(HOSTS, 1)]
SOUND = [
    asks(0, HOSTS[0], "192.168.1.10"),
    answers(0, HOSTS[0], HOSTS[1]),
    leases(0, HOSTS[0], router="192.168.1.1"),
    solicits(0, HOSTS6[0], "fe80::2"),
    advertises(0, HOSTS6[0]),
    offers_way_out(0, HOSTS6[0]),
]


@st.composite
def spoilt_frames(draw: st.DrawFn) -> bytes:
    """A sound frame, some of its bytes exchanged, cut somewhere; or nothing but noise."""
    data = bytearray(draw(st.sampled_from([*(frame.data for frame in SOUND), draw(st.binary(max_size=120))])))
    for _ in range(draw(st.integers(0, 4))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


def batch_of(frames: list[bytes], link_type: int) -> FrameBatch:
    sizes = np.array([len(data) for data in frames], dtype=np.int64)
    return FrameBatch(
        buffer=np.frombuffer(b"".join(frames) + bytes(PADDING_BYTES), dtype=np.uint8),
        starts=np.cumsum(sizes) - sizes,
        captured_bytes=sizes,
        at_s=np.arange(len(frames), dtype=np.float64),
        link_type=link_type,
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(spoilt_frames(), min_size=1, max_size=12), st.sampled_from(LINK_TYPES))
def test_no_bytes_break_it_or_change_the_packets(frames: list[bytes], link_type: int) -> None:
    batch, counts, plain = batch_of(frames, link_type), Counter[str](), Counter[str]()
    layers = decode_layers(batch, counts)
    said = decode_link_layer(layers, counts)
    packets = decode_packets(layers, counts)
    again = decode_packets(decode_layers(batch, plain), plain)
    assert packets.payload_bytes.tolist() == again.payload_bytes.tolist()
    assert len(said) <= len(frames)
    assert (np.diff(said.at_s) >= 0).all()
    assert set(said.kind.tolist()) <= {int(kind) for kind in LinkKind}
    assert ((said.mac & np.uint64(1 << 40)) == 0).all()
    LinkWatch().observe(said)


@settings(max_examples=200, deadline=None)
@given(spoilt_frames(), st.sampled_from(LINK_TYPES))
def test_what_lies_behind_a_frame_is_never_read(data: bytes, link_type: int) -> None:
    alone = decode_link_layer(decode_layers(batch_of([data], link_type), Counter()), Counter())
    other = np.frombuffer(data + b"\xff" * PADDING_BYTES, dtype=np.uint8)
    sizes = np.array([len(data)], dtype=np.int64)
    beside = FrameBatch(buffer=other, starts=sizes * 0, captured_bytes=sizes, at_s=np.zeros(1), link_type=link_type)
    said = decode_link_layer(decode_layers(beside, Counter()), Counter())
    assert said.mac.tolist() == alone.mac.tolist()
    assert said.address.tolist() == alone.address.tolist()
    assert said.asked.tolist() == alone.asked.tolist()


@st.composite
def conversations(draw: st.DrawFn) -> list[Frame]:
    """Three hosts that claim three addresses, each its own or another's, for some minutes."""
    frames = []
    for tick in sorted(draw(st.lists(st.integers(0, 2400), min_size=1, max_size=120))):
        mac = draw(st.sampled_from(HOSTS))[0]
        own, other = (mac, draw(st.sampled_from(HOSTS))[1]), draw(st.sampled_from(HOSTS))
        frames.append(
            draw(
                st.sampled_from(
                    [
                        asks(tick / 8, own, other[1]),
                        answers(tick / 8, own, other),
                        announces(tick / 8, own),
                        leases(tick / 8, own, router=other[1]),
                    ]
                )
            )
        )
    return frames


@settings(max_examples=100, deadline=None)
@given(conversations(), st.lists(st.integers(1, 119), max_size=6))
def test_chunks_change_no_finding(frames: list[Frame], cuts: list[int]) -> None:
    said, _, _ = read(frames)
    whole, parted = LinkWatch(), LinkWatch()
    whole.observe(said)
    for rows in np.split(np.arange(len(said)), sorted({cut for cut in cuts if cut < len(said)})):
        parted.observe(said.take(rows))
    assert parted.findings == whole.findings
    assert parted.counts == whole.counts


@settings(max_examples=50, deadline=None)
@given(conversations())
def test_a_finding_always_names_two_hosts_that_spoke(frames: list[Frame]) -> None:
    said, _, _ = read(frames)
    heard = LinkWatch()
    heard.observe(said)
    macs = set(said.mac.tolist())
    assert len(macs) <= MAX_CLAIMANTS
    for finding in heard.findings:
        assert finding.suspect_mac != finding.rival_mac
        assert {finding.suspect_mac, finding.rival_mac} <= macs
