"""Later fragments are folded into their first, in any order and only into their own."""

from __future__ import annotations

from packet_builder import CLIENT, SERVER, Frame, ethernet, ip_packet, meter, udp_datagram

BODY = udp_datagram(5000, 6000, bytes(92))


def fragment(part: slice, *, more: bool, ident: int = 1, src: str = CLIENT, at_s: float = 0.0) -> Frame:
    field = part.start // 8 | (0x2000 if more else 0)
    return Frame(at_s, ethernet(ip_packet(src, SERVER, 17, BODY[part], fragment=field, ident=ident)))


FIRST, MIDDLE, LAST = slice(0, 40), slice(40, 80), slice(80, 100)


def test_a_datagram_in_three_parts_is_one_packet() -> None:
    flows = meter([fragment(FIRST, more=True), fragment(MIDDLE, more=True), fragment(LAST, more=False)])
    assert (flows.orig_packets.tolist(), flows.orig_ip_bytes.tolist()) == ([1], [120])


def test_parts_may_come_in_any_order() -> None:
    flows = meter([fragment(LAST, more=False), fragment(MIDDLE, more=True), fragment(FIRST, more=True)])
    assert flows.orig_ip_bytes.tolist() == [120]


def test_parts_of_other_datagrams_are_left_alone() -> None:
    frames = [
        fragment(FIRST, more=True, ident=1),
        fragment(FIRST, more=True, ident=2),
        fragment(MIDDLE, more=False, ident=2),
    ]
    assert meter(frames).orig_ip_bytes.tolist() == [2 * 60 + 40]
    assert meter(
        [fragment(FIRST, more=True), fragment(MIDDLE, more=False, src="192.168.1.11")]
    ).orig_ip_bytes.tolist() == [60]


def test_a_datagram_without_its_first_part_has_no_flow() -> None:
    assert len(meter([fragment(MIDDLE, more=True), fragment(LAST, more=False)])) == 0
