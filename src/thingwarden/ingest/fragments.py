"""Fold the later fragments of an IP datagram into its first, so that a datagram counts as one packet.

In: packet columns with the fragment fields of their IP headers. Out: the packets with grown first fragments.
Must never: hold payload to reassemble it (only lengths matter here), or look beyond one chunk of packets.
Source: RFC 791 and RFC 8200, section 4.5: fragments belong together by addresses, protocol and identification.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from thingwarden.domain.packet import PacketBatch


def fold_fragments(
    packets: PacketBatch,
    fragment_id: npt.NDArray[np.uint32],
    is_later: npt.NDArray[np.bool_],
    is_fragment: npt.NDArray[np.bool_],
) -> tuple[PacketBatch, npt.NDArray[np.bool_]]:
    """Add the bytes of later fragments to the first fragment of the same datagram.

    Args:
        packets: n packets, fragments among them.
        fragment_id: uint32 (n,), identification of the datagram.
        is_later: bool (n,), whether the row is a fragment other than the first.
        is_fragment: bool (n,), whether the row is any fragment.

    Returns:
        All n packets, first fragments grown (the caller drops ``is_later``), and bool (n,): later fragments whose
        first is not among these packets.
    """
    rows = np.flatnonzero(is_fragment)
    key = np.column_stack(
        [packets.src_address[rows], packets.dst_address[rows], packets.proto[rows], fragment_id[rows]]
    ).astype(np.uint64)
    _, group = np.unique(key, axis=0, return_inverse=True)
    group = group.reshape(-1)
    firsts = rows[~is_later[rows]]
    first_of_group = np.full(group.max() + 1, -1)
    first_of_group[group[~is_later[rows]]] = firsts
    later = rows[is_later[rows]]
    target = first_of_group[group[is_later[rows]]]
    is_orphan = np.zeros(len(packets), dtype=np.bool_)
    is_orphan[later[target < 0]] = True
    later, target = later[target >= 0], target[target >= 0]
    ip_bytes, payload_bytes = packets.ip_bytes.copy(), packets.payload_bytes.copy()
    np.add.at(ip_bytes, target, packets.payload_bytes[later])
    np.add.at(payload_bytes, target, packets.payload_bytes[later])
    return replace(packets, ip_bytes=ip_bytes, payload_bytes=payload_bytes), is_orphan
