"""Columnar look-ups: which flow a thing belongs to, which listed network an address lies in.

In: columns of ends and instants, of addresses, of networks. Out: columns of row numbers.
Must never: run Python per row, or answer by a hash alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from thingwarden.domain.address import IpNetwork
from thingwarden.domain.flow import FlowBatch, words_from_address

Addresses = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

EARLY_S: Final = 1.0
NEAR_S: Final = 10.0
LATE_S: Final = 3900.0
"""A thing belongs to a flow that began at most ``EARLY_S`` after it and ended at most ``NEAR_S`` before it. Failing
that the start of its flow decides, where it is told, and else any flow that ended at most ``LATE_S`` before it: what
Suricata finds in an unfinished stream it tells when it gives the flow up, often an hour after the last packet."""

_ICMP_PROTOS: Final = (1, 58)
_V4_MARK: Final = np.uint64(0xFFFF)
_V4_BITS: Final = 96
_MIX: Final = np.uint64(0x9E37_79B9_7F4A_7C15)


class Located(Protocol):
    """Columns that say to which flow something belongs; see ``AlertBatch``."""

    @property
    def at_s(self) -> npt.NDArray[np.float64]: ...
    @property
    def orig_address(self) -> Addresses: ...
    @property
    def resp_address(self) -> Addresses: ...
    @property
    def orig_port(self) -> npt.NDArray[np.uint16]: ...
    @property
    def resp_port(self) -> npt.NDArray[np.uint16]: ...
    @property
    def proto(self) -> npt.NDArray[np.uint8]: ...


@dataclass(frozen=True, slots=True)
class Joined:
    """To which flow each of n things belongs.

    Attributes:
        flow: int64 (n,), row of the flow; -1 where there is none.
        is_flipped: bool (n,), whether the flow's originator is the thing's responder.
    """

    flow: Rows
    is_flipped: npt.NDArray[np.bool_]


def join_flows(things: Located, flows: FlowBatch, begun_at_s: npt.NDArray[np.float64] | None = None) -> Joined:
    """Find each thing's flow: same ends and protocol, whichever way round, the latest that began before it.

    Args:
        things: what to join. ICMP goes by addresses alone: engines differ in its ports.
        flows: those without time take nothing.
        begun_at_s: float64 (n,), Unix seconds at which each thing's flow began, NaN where nobody says.
    """
    keys, is_turned = _end_keys(things)
    flow = np.full(len(keys), -1, dtype=np.int64)
    is_flipped = np.zeros(len(keys), dtype=np.bool_)
    if not len(keys) or not len(flows) or not flows.is_timed:
        return Joined(flow, is_flipped)
    flow_keys, is_flow_turned = _end_keys(_Ends.of(flows))
    near = np.flatnonzero(np.isin(_mixed(flow_keys), np.unique(_mixed(keys))))
    _, group = np.unique(np.concatenate([flow_keys[near], keys]), axis=0, return_inverse=True)
    group = group.reshape(-1)
    begun = things.at_s if begun_at_s is None else np.where(np.isnan(begun_at_s), things.at_s, begun_at_s)
    for at_s, late_s in ((things.at_s, NEAR_S), (begun, NEAR_S), (things.at_s, LATE_S)):
        row = _latest(group[: len(near)], flows.started_at_s[near] - EARLY_S, group[len(near) :], at_s)
        thing = np.flatnonzero((row >= 0) & (flow < 0))
        thing = thing[at_s[thing] <= flows.ended_at_s[near[row[thing]]] + late_s]
        flow[thing] = near[row[thing]]
    found = flow >= 0
    is_flipped[found] = is_turned[found] != is_flow_turned[flow[found]]
    return Joined(flow, is_flipped)


def _latest(
    group: Rows, started_at_s: npt.NDArray[np.float64], thing_group: Rows, at_s: npt.NDArray[np.float64]
) -> Rows:
    """For each thing the last row of its group that started by then, int64 (n,); -1 where there is none."""
    joined = np.concatenate([group, thing_group])
    is_thing = np.arange(len(joined)) >= len(group)
    order = np.lexsort((is_thing, np.concatenate([started_at_s, at_s]), joined))
    latest = np.maximum.accumulate(np.where(is_thing[order], -1, np.arange(len(order))))
    place = np.flatnonzero(is_thing[order] & (latest >= 0))
    place = place[joined[order[latest[place]]] == joined[order[place]]]
    row = np.full(len(at_s), -1, dtype=np.int64)
    row[order[place] - len(group)] = order[latest[place]]
    return row


def find_networks(addresses: Addresses, network: Addresses, prefix_length: npt.NDArray[np.uint8]) -> tuple[Rows, Rows]:
    """Which addresses lie in which networks.

    Args:
        addresses: uint64 (m, 2), as in ``FlowBatch``.
        network, prefix_length: uint64 (k, 2) and uint8 (k,), as in ``IndicatorSet``.

    Returns:
        int64 (p,) each: rows of ``addresses``, and of ``network``, one pair per hit, by address and then network.
    """
    found_address, found_network = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for length in np.unique(prefix_length).tolist():
        members = np.flatnonzero(prefix_length == length)
        keys = exact_keys(np.concatenate([_masked(addresses, length), network[members]]))
        own, listed = keys[: len(addresses)], keys[len(addresses) :]
        order = np.argsort(listed, kind="stable")
        first, last = (np.searchsorted(listed[order], own, side=side) for side in ("left", "right"))
        rows, place = _spread(first, np.where(_is_of_family(addresses, length), last - first, 0))
        found_address.append(rows)
        found_network.append(members[order[place]])
    address, entry = np.concatenate(found_address), np.concatenate(found_network)
    order = np.lexsort((entry, address))
    return address[order], entry[order]


def is_within(addresses: Addresses, networks: Sequence[IpNetwork]) -> npt.NDArray[np.bool_]:
    """Which addresses lie in any of the networks, bool (m,)."""
    inside = np.zeros(len(addresses), dtype=np.bool_)
    for network in networks:
        length = network.prefixlen + (96 if network.version == 4 else 0)
        first = np.array([words_from_address(network.network_address)], dtype=np.uint64)
        inside |= (_masked(addresses, length) == first).all(axis=1) & _is_of_family(addresses, length)
    return inside


def exact_keys(addresses: Addresses) -> npt.NDArray[np.int64]:
    """One number per address, equal just where the addresses are."""
    high, low = (np.unique(column, return_inverse=True)[1] for column in addresses.T)
    return np.asarray(high.astype(np.int64) * len(addresses) + low)


def distinct_addresses(addresses: Addresses) -> tuple[Addresses, Rows]:
    """The different addresses, and for each row which it is."""
    _, first, inverse = np.unique(exact_keys(addresses), return_index=True, return_inverse=True)
    return addresses[first], inverse.astype(np.int64)


def _masked(addresses: Addresses, length: int) -> Addresses:
    """The addresses without the bits behind the prefix."""
    bits = (((1 << length) - 1) << (128 - length)) if length else 0
    mask = np.array([bits >> 64, bits & 0xFFFF_FFFF_FFFF_FFFF], dtype=np.uint64)
    return np.asarray(addresses & mask)


def _is_of_family(addresses: Addresses, length: int) -> npt.NDArray[np.bool_]:
    """Which addresses a prefix of that length can hold: one short of the mark of IPv4 holds IPv6 alone."""
    is_v4 = (addresses[:, 0] == 0) & (addresses[:, 1] >> np.uint64(32) == _V4_MARK)
    return np.asarray(~is_v4 | (length >= _V4_BITS))


def _spread(first: npt.NDArray[np.int64], count: npt.NDArray[np.int64]) -> tuple[Rows, Rows]:
    """Row i ``count[i]`` times, beside ``first[i]`` and the numbers that follow it."""
    rows = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    return rows, first[rows] + within


def expand_hits(inverse: Rows, address: Rows, entry: Rows, address_count: int) -> tuple[Rows, Rows]:
    """From hits of distinct addresses, sorted by address, to hits of rows: the rows, and the entries that they hit."""
    count = np.bincount(address, minlength=address_count)
    first = np.cumsum(count) - count
    rows = np.flatnonzero(count[inverse])
    which, place = _spread(first[inverse[rows]], count[inverse[rows]])
    return rows[which], entry[place]


@dataclass(frozen=True, slots=True)
class _Ends:
    at_s: npt.NDArray[np.float64]
    orig_address: Addresses
    resp_address: Addresses
    orig_port: npt.NDArray[np.uint16]
    resp_port: npt.NDArray[np.uint16]
    proto: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, flows: FlowBatch) -> _Ends:
        return cls(
            flows.started_at_s, flows.orig_address, flows.resp_address, flows.orig_port, flows.resp_port, flows.proto
        )


def _end_keys(things: Located) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Both ends and the protocol, the lower end first, uint64 (n, 5); whether the ends were turned round for that."""
    is_icmp = np.isin(things.proto, _ICMP_PROTOS)
    orig_port, resp_port = (
        np.where(is_icmp, 0, port).astype(np.uint64) for port in (things.orig_port, things.resp_port)
    )
    orig, resp = things.orig_address, things.resp_address
    is_high_equal, is_low_equal = (orig == resp).T
    is_turned = np.where(
        is_high_equal & is_low_equal,
        orig_port > resp_port,
        np.where(is_high_equal, orig[:, 1] > resp[:, 1], orig[:, 0] > resp[:, 0]),
    )
    turned = is_turned[:, None]
    first, second = np.where(turned, resp, orig), np.where(turned, orig, resp)
    first_port, second_port = np.where(is_turned, resp_port, orig_port), np.where(is_turned, orig_port, resp_port)
    packed = first_port << np.uint64(32) | second_port << np.uint64(16) | things.proto.astype(np.uint64)
    return np.concatenate([first, second, packed[:, None]], axis=1), is_turned


def _mixed(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One number per row; equal rows have equal numbers."""
    mixed = np.zeros(len(keys), dtype=np.uint64)
    for column in keys.T:
        mixed = (mixed ^ (mixed >> np.uint64(29)) ^ column) * _MIX
    return mixed
