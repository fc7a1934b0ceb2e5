"""Whatever bytes arrive: nothing crashes, nothing is lost uncounted, and no frame changes what another says."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from packet_builder import CLIENT, SERVER, decode, ethernet, ip_packet, tcp, udp_datagram
from thingwarden.ingest.link_header import LINK_TYPES
from tunnel_builder import UDP_TUNNELS, aggregate, carried, gre, in_udp, radiotap, wifi

INSIDE = [
    ip_packet(CLIENT, SERVER, 17, udp_datagram(5000, 53, b"abc")),
    ip_packet("2001:0:1::1", "fd00::2", 17, udp_datagram(5000, 53, b"abc")),
]
SOUND = [
    *(tcp(0, "PA", 1, 1, b"GET / HTTP/1.1").data for _ in range(1)),
    *(ethernet(packet, tags=b"\x81\0\0\x05") for packet in INSIDE),
    *(in_udp(port, packet, family) for port in UDP_TUNNELS for packet in INSIDE for family in (4, 6)),
    *(carried(gre(packet, flags=0x2000, options=bytes(4)), 47) for packet in INSIDE),
    *(wifi(packet, qos=True) for packet in INSIDE),
    radiotap(wifi(INSIDE[0])),
    aggregate(*INSIDE),
]


@st.composite
def hostile_frames(draw: st.DrawFn) -> bytes:
    """A sound frame with some bytes changed and perhaps its end cut, or noise."""
    frame = bytearray(draw(st.sampled_from(SOUND) | st.binary(max_size=120)))
    for _ in range(draw(st.integers(0, 6)) if frame else 0):
        frame[draw(st.integers(0, len(frame) - 1))] = draw(st.integers(0, 255))
    return bytes(frame[: draw(st.integers(0, len(frame)))] if draw(st.booleans()) else frame)


@given(frame=hostile_frames(), link_type=st.sampled_from(LINK_TYPES))
@settings(max_examples=400, deadline=None)
def test_a_frame_says_the_same_alone_and_between_others(frame: bytes, link_type: int) -> None:
    alone, alone_counts = decode([frame], link_type)
    # Ones are a sound frame of no link type, so that only this frame's packets come out.
    between, between_counts = decode([frame, b"\xff" * 80], link_type)
    assert len(alone) == len(between)
    for field in fields(alone):
        np.testing.assert_array_equal(getattr(alone, field.name), getattr(between, field.name), field.name)
    assert len(alone) + sum(alone_counts.values()) >= 1
    assert sum(between_counts.values()) == sum(alone_counts.values()) + 1


@given(frames=st.lists(hostile_frames(), max_size=20), link_type=st.sampled_from(LINK_TYPES))
@settings(max_examples=200, deadline=None)
def test_nothing_is_lost_uncounted(frames: list[bytes], link_type: int) -> None:
    packets, counts = decode(frames, link_type)
    seen = set(packets.at_s.astype(int).tolist())
    assert len(frames) - len(seen) <= sum(counts.values())
