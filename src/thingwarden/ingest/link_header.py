"""Decode the link layer of many frames at once: what each carries, and between whom.

In: a byte buffer and where frames lie in it. Out: EtherType, place of the network layer and link-layer addresses.
Must never: read beyond a frame's captured end, trust a length field unchecked, or loop over frames.
Source: tcpdump.org/linktypes.html; IEEE 802.3, 802.2, 802.1Q, 802.1ad, 802.1ah, 802.11; RFC 1661, 1662, 2516, 3032;
radiotap.org.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from thingwarden.ingest.gather import Bytes, Index, macs, u8, u16
from thingwarden.ingest.ip_layer import ETHERTYPE_IPV4, ETHERTYPE_IPV6, Layer, checked

LINK_NULL: Final = 0
LINK_ETHERNET: Final = 1
LINK_PPP: Final = 9
LINK_PPP_SERIAL: Final = 50
LINK_RAW: Final = 101
LINK_CISCO_HDLC: Final = 104
LINK_WIFI: Final = 105
LINK_LOOP: Final = 108
LINK_LINUX_COOKED: Final = 113
LINK_RADIOTAP: Final = 127
LINK_IPV4: Final = 228
LINK_IPV6: Final = 229
LINK_LINUX_COOKED_2: Final = 276
_RAW_LINKS: Final = (LINK_RAW, 12, 14, LINK_IPV4, LINK_IPV6)
"""12 and 14 are what BSD systems wrote for raw IP."""

MAX_TAGS: Final = 8
"""Tags and labels between a frame's header and its IP packet; a longer stack is no IP packet to us."""
MAX_SUBFRAMES: Final = 16
"""Of one aggregated Wi-Fi frame; the rest is counted."""

ETHERTYPE_UNKNOWN: Final = 0
_ETHERTYPE_MPLS: Final = 0x8847
_ETHERTYPE_PPPOE: Final = 0x8864
_LLC_LIMIT: Final = 1500
"""Up to here the type field is a length and an LLC header follows."""
_TAGS: Final = {0x8100: (4, 2), 0x88A8: (4, 2), 0x9100: (4, 2), 0x8926: (6, 4), 0x8903: (16, 14), 0x88E7: (18, 16)}
"""Length, and where in it the next EtherType lies: 802.1Q, 802.1ad and its forerunner, VN-Tag, FabricPath, 802.1ah."""
_PPP_IPV4, _PPP_IPV6 = 0x0021, 0x0057

Macs: TypeAlias = npt.NDArray[np.uint64]


def _tag_table(column: int) -> Index:
    table = np.zeros(65536, dtype=np.int64)
    for ethertype, shape in _TAGS.items():
        table[ethertype] = shape[column]
    return table


_TAG_LENGTH: Final = _tag_table(0)
_TAG_TYPE_AT: Final = _tag_table(1)
_IS_WRAPPED: Final = _TAG_LENGTH > 0
_IS_WRAPPED[[_ETHERTYPE_MPLS, _ETHERTYPE_MPLS + 1, _ETHERTYPE_PPPOE]] = True
_IS_WRAPPED[1 : _LLC_LIMIT + 1] = True


@dataclass(slots=True)
class Carried:
    """What frames carry, columns of equal length: EtherType, where it lies, and the ends' addresses (0 unknown)."""

    ethertype: Index
    payload: Layer
    src_mac: Macs
    dst_mac: Macs

    def keep(self, mask: npt.NDArray[Any]) -> Carried:
        """The rows at ``mask`` (boolean, or indices)."""
        return Carried(self.ethertype[mask], self.payload.keep(mask), self.src_mac[mask], self.dst_mac[mask])


def open_link(buffer: Bytes, link_type: int, link: Layer, counts: Counter[str]) -> Carried:
    """What frames of one link type carry behind header, tags and labels.

    Args:
        buffer: uint8, the bytes.
        link_type: one of ``LINK_TYPES``.
        link: the frames.
        counts: grows by one per frame left out, under the reason.

    Returns:
        Rows ascend; an aggregated Wi-Fi frame gives one row for each of its parts.
    """
    return _skip_tags(buffer, _OPENERS[link_type](buffer, link, counts), counts)


def _without_macs(ethertype: Index, payload: Layer) -> Carried:
    none = np.zeros(len(ethertype), dtype=np.uint64)
    return Carried(ethertype, payload, none, none)


def _open_ethernet(buffer: Bytes, link: Layer, counts: Counter[str]) -> Carried:
    link = checked(link, 14, counts, "truncated_link")
    return Carried(
        ethertype=u16(buffer, link.starts + 12),
        payload=Layer(link.rows, link.starts + 14, link.ends),
        src_mac=macs(buffer, link.starts + 6),
        dst_mac=macs(buffer, link.starts),
    )


def _open_cooked(buffer: Bytes, link: Layer, counts: Counter[str]) -> Carried:
    link = checked(link, 16, counts, "truncated_link")
    carried = _without_macs(u16(buffer, link.starts + 14), Layer(link.rows, link.starts + 16, link.ends))
    has_mac = u16(buffer, link.starts + 4) == 6
    carried.src_mac = np.where(has_mac, macs(buffer, link.starts + 6), 0).astype(np.uint64)
    return carried


def _open_cooked_2(buffer: Bytes, link: Layer, counts: Counter[str]) -> Carried:
    link = checked(link, 20, counts, "truncated_link")
    carried = _without_macs(u16(buffer, link.starts), Layer(link.rows, link.starts + 20, link.ends))
    has_mac = u8(buffer, link.starts + 11) == 6
    carried.src_mac = np.where(has_mac, macs(buffer, link.starts + 12), 0).astype(np.uint64)
    return carried


def _open_raw(buffer: Bytes, link: Layer, counts: Counter[str]) -> Carried:
    link = checked(link, 1, counts, "truncated_link")
    return _without_macs(_type_by_version(buffer, link.starts), link)


def _open_loop(buffer: Bytes, link: Layer, counts: Counter[str]) -> Carried:
    """Four bytes of address family, whose values differ between systems: the IP version tells as well."""
    return _open_raw(buffer, Layer(link.rows, link.starts + 4, link.ends), counts)


def _open_cisco_hdlc(buffer: Bytes, link: Layer, counts: Counter[str]) -> Carried:
    link = checked(link, 4, counts, "truncated_link")
    return _without_macs(u16(buffer, link.starts + 2), Layer(link.rows, link.starts + 4, link.ends))


def _open_ppp(buffer: Bytes, link: Layer, counts: Counter[str]) -> Carried:
    """PPP, with or without the address and control bytes of HDLC framing."""
    link = checked(link, 2, counts, "truncated_link")
    is_framed = u16(buffer, link.starts) == 0xFF03
    link = checked(Layer(link.rows, link.starts + np.where(is_framed, 2, 0), link.ends), 2, counts, "truncated_link")
    return _without_macs(_type_by_ppp(u16(buffer, link.starts)), Layer(link.rows, link.starts + 2, link.ends))


def _open_radiotap(buffer: Bytes, link: Layer, counts: Counter[str]) -> Carried:
    link = checked(link, 8, counts, "truncated_link")
    header_bytes = u8(buffer, link.starts + 2) + u8(buffer, link.starts + 3) * 256
    is_sound = (header_bytes >= 8) & (u8(buffer, link.starts) == 0)
    counts["malformed_link"] += int(len(is_sound) - is_sound.sum())
    link = Layer(link.rows, link.starts + header_bytes, link.ends).keep(is_sound)
    return _open_wifi(buffer, link, counts)


def _open_wifi(buffer: Bytes, link: Layer, counts: Counter[str]) -> Carried:
    """Data frames of 802.11 that are not encrypted; management, control and protected frames are counted."""
    link = checked(link, 2, counts, "truncated_link")
    kind, flags = u8(buffer, link.starts), u8(buffer, link.starts + 1)
    is_data = (kind & 0x0F == 0x08) & (kind & 0x40 == 0)
    is_protected = is_data & (flags & 0x40 != 0)
    counts["wifi_without_data"] += int(len(is_data) - is_data.sum())
    counts["wifi_protected"] += int(is_protected.sum())
    is_open = is_data & ~is_protected
    link, kind, flags = link.keep(is_open), kind[is_open], flags[is_open]
    has_qos = kind & 0x80 != 0
    qos_at = np.where(flags & 3 == 3, 30, 24)
    header_bytes = qos_at + np.where(has_qos, 2 + np.where(flags & 0x80 != 0, 4, 0), 0)
    fits = link.starts + header_bytes <= link.ends
    counts["truncated_link"] += int(len(fits) - fits.sum())
    link, flags, has_qos, qos_at = link.keep(fits), flags[fits], has_qos[fits], qos_at[fits]
    is_aggregate = has_qos & (u8(buffer, link.starts + np.where(has_qos, qos_at, 0)) & 0x80 != 0)
    # To the access point the third address is the receiver; from it, the sender; between two, the fourth is.
    dst_at = np.where(flags & 1 != 0, 16, 4)
    src_at = np.select([flags & 3 == 3, flags & 2 != 0], [24, 16], 10)
    carried = Carried(
        ethertype=np.zeros(len(link.rows), dtype=np.int64),
        payload=Layer(link.rows, link.starts + header_bytes[fits], link.ends),
        src_mac=macs(buffer, link.starts + src_at),
        dst_mac=macs(buffer, link.starts + dst_at),
    )
    whole = _open_llc(buffer, carried.keep(~is_aggregate))
    parts = _open_llc(buffer, _split_aggregates(buffer, carried.payload.keep(is_aggregate), counts))
    return _in_order([whole, parts])


def _split_aggregates(buffer: Bytes, layer: Layer, counts: Counter[str]) -> Carried:
    """The parts of aggregated frames: destination, source, length, then the part, padded to four bytes."""
    found: list[Carried] = []
    layer = checked(layer, 14, counts, "truncated_link")
    for _ in range(MAX_SUBFRAMES):
        layer = layer.keep(layer.starts + 14 <= layer.ends)
        if not len(layer.rows):
            break
        length = u16(buffer, layer.starts + 12)
        start = layer.starts + 14
        part = Layer(layer.rows, start, np.minimum(start + length, layer.ends))
        unknown = np.zeros(len(length), dtype=np.int64)
        found.append(Carried(unknown, part, macs(buffer, layer.starts + 6), macs(buffer, layer.starts)))
        layer = Layer(layer.rows, layer.starts + (14 + length + 3) // 4 * 4, layer.ends)
    else:
        counts["malformed_link"] += int((layer.starts + 14 <= layer.ends).sum())
    none = np.zeros(0, dtype=np.int64)
    return _in_order([_without_macs(none, Layer(none, none, none)), *found])


def _open_llc(buffer: Bytes, carried: Carried) -> Carried:
    """Step over LLC and SNAP headers; another LLC protocol keeps ``ETHERTYPE_UNKNOWN``."""
    is_snap = _is_snap(buffer, carried.payload)
    rows = np.flatnonzero(is_snap)
    carried.ethertype[rows] = u16(buffer, carried.payload.starts[rows] + 6)
    carried.payload.starts = carried.payload.starts + np.where(is_snap, 8, 0)
    return carried


def _is_snap(buffer: Bytes, layer: Layer) -> npt.NDArray[np.bool_]:
    is_snap: npt.NDArray[np.bool_] = layer.starts + 8 <= layer.ends
    rows = np.flatnonzero(is_snap)
    start = layer.starts[rows]
    is_snap[rows] = (u16(buffer, start) == 0xAAAA) & (u8(buffer, start + 2) == 3)
    return is_snap


def _in_order(parts: list[Carried]) -> Carried:
    """All rows in the order of their frames."""
    rows, starts, ends = (np.concatenate([getattr(p.payload, name) for p in parts]) for name in Layer.__slots__)
    order = np.argsort(rows, kind="stable")
    columns = (np.concatenate([getattr(p, name) for p in parts])[order] for name in ("ethertype", "src_mac", "dst_mac"))
    ethertype, src_mac, dst_mac = columns
    return Carried(ethertype, Layer(rows, starts, ends).keep(order), src_mac, dst_mac)


def _skip_tags(buffer: Bytes, carried: Carried, counts: Counter[str]) -> Carried:
    """Step over tags, labels and session headers between the link's header and the IP header, one per round."""
    for _ in range(MAX_TAGS):
        is_wrapped = _IS_WRAPPED[carried.ethertype]
        if not is_wrapped.any():
            break
        ethertype = carried.ethertype
        is_label = (ethertype == _ETHERTYPE_MPLS) | (ethertype == _ETHERTYPE_MPLS + 1)
        is_session = ethertype == _ETHERTYPE_PPPOE
        is_llc = is_wrapped & (ethertype <= _LLC_LIMIT)
        length = np.select([is_label, is_session | is_llc], [4, 8], _TAG_LENGTH[ethertype])
        fits = carried.payload.starts + length <= carried.payload.ends
        counts["truncated_tag"] += int(len(fits) - fits.sum())
        start, type_at = carried.payload.starts[fits], _TAG_TYPE_AT[ethertype[fits]]
        is_tag, is_label, is_session, is_llc = (
            mask[fits] for mask in (_TAG_LENGTH[ethertype] > 0, is_label, is_session, is_llc)
        )
        is_snap = is_llc & _is_snap(buffer, carried.payload.keep(fits))
        carried = carried.keep(fits)
        carried.ethertype = np.select(
            [is_tag, is_label, is_session, is_snap, is_llc],
            [
                u16(buffer, start + type_at),
                _type_behind_label(buffer, start, carried),
                _type_by_ppp(u16(buffer, start + 6)),
                u16(buffer, start + 6),
                ETHERTYPE_UNKNOWN,
            ],
            carried.ethertype,
        )
        carried.payload.starts = start + np.where(is_llc & ~is_snap, 0, length[fits])
    return carried


def _type_behind_label(buffer: Bytes, start: Index, carried: Carried) -> Index:
    """After the label at the bottom of the stack the IP version tells the type; before it, labels go on."""
    is_bottom = u8(buffer, start + 2) & 1 != 0
    inside = np.where(start + 5 <= carried.payload.ends, start + 4, start)
    return np.where(is_bottom, _type_by_version(buffer, inside), carried.ethertype)


def _type_by_version(buffer: Bytes, starts: Index) -> Index:
    version = u8(buffer, starts) >> 4
    return np.select([version == 4, version == 6], [ETHERTYPE_IPV4, ETHERTYPE_IPV6], ETHERTYPE_UNKNOWN)


def _type_by_ppp(protocol: Index) -> Index:
    known = [protocol == _PPP_IPV4, protocol == _PPP_IPV6]
    return np.select(known, [ETHERTYPE_IPV4, ETHERTYPE_IPV6], ETHERTYPE_UNKNOWN)


_Opener: TypeAlias = Callable[[Bytes, Layer, Counter[str]], Carried]
_OPENERS: Final[dict[int, _Opener]] = {
    LINK_NULL: _open_loop,
    LINK_ETHERNET: _open_ethernet,
    LINK_PPP: _open_ppp,
    LINK_PPP_SERIAL: _open_ppp,
    LINK_CISCO_HDLC: _open_cisco_hdlc,
    LINK_WIFI: _open_wifi,
    LINK_LOOP: _open_loop,
    LINK_LINUX_COOKED: _open_cooked,
    LINK_RADIOTAP: _open_radiotap,
    LINK_LINUX_COOKED_2: _open_cooked_2,
    **dict.fromkeys(_RAW_LINKS, _open_raw),
}
LINK_TYPES: Final = tuple(sorted(_OPENERS))
