"""Joins what others know to the flows: alerts by the ends that they name, lists by the addresses that were met.

In: ``FlowBatch``, and ``AlertBatch`` or ``IndicatorSet``. Out: ``SightingBatch``, at most one per end of flows, rule or
entry, grade and hour.
Must never: run Python per flow, depend on the order of alerts or lists, or accuse a host for being local.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from thingwarden.domain.alert import UNKNOWN_SIDE, AlertBatch
from thingwarden.domain.flow import FlowBatch, address_from_words, words_from_address
from thingwarden.domain.indicator import KIND_CODE, IndicatorSet
from thingwarden.domain.sighting import (
    NO_CLASS,
    SIGHTING_COLUMNS,
    Grade,
    SightingBatch,
    SightingKind,
    SightingSource,
)
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Addresses = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

HOUR_S: Final = 3600.0
"""A rule or entry counts once in each such span of traffic time, per end of a flow."""

EARLY_S: Final = 1.0
LATE_S: Final = 300.0
"""An alert belongs to a flow that began at most this long after it or ended at most this long before it: engines tell
some of what they found only when they give the flow up."""

HIGH_CONFIDENCE: Final = 70
MEDIUM_CONFIDENCE: Final = 30
"""Least confidence of each grade, from 0 to 100: STIX 2.1, appendix A, "None / Low / Med / High"."""

GRADE_OF_SEVERITY: Final = (Grade.LOW, Grade.HIGH, Grade.MEDIUM)
"""By Suricata's severity, from 1; everything above 2 is low, as is severity 0, which there is not."""

MILD_CATEGORIES: Final = frozenset({"potential corporate privacy violation", "inappropriate content was detected"})
"""Of severity 1 in Suricata's own table, and no attack: what they say is graded low."""

CLASS_OF_CATEGORY: Final = {
    "malware command and control activity detected": AttackClass.C2,
    "domain observed used for c2 detected": AttackClass.C2,
    "detection of a network scan": AttackClass.SCAN,
    "attempted information leak": AttackClass.SCAN,
    "attempted denial of service": AttackClass.DOS,
    "denial of service": AttackClass.DOS,
    "detection of a denial of service attack": AttackClass.DOS,
    "an attempted login using a suspicious username was detected": AttackClass.BRUTE_FORCE,
    "attempt to login by a default username and password": AttackClass.BRUTE_FORCE,
    "attempted administrator privilege gain": AttackClass.EXPLOIT,
    "attempted user privilege gain": AttackClass.EXPLOIT,
    "successful administrator privilege gain": AttackClass.EXPLOIT,
    "successful user privilege gain": AttackClass.EXPLOIT,
    "executable code was detected": AttackClass.EXPLOIT,
    "web application attack": AttackClass.EXPLOIT,
    "exploit kit activity detected": AttackClass.EXPLOIT,
}
"""Categories of classification.config, in lower case, that name what is seen; "a network trojan was detected" does not.
"""

_ICMP_PROTOS: Final = (1, 58)
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


def join_flows(things: Located, flows: FlowBatch) -> Joined:
    """Find each thing's flow: same ends and protocol, whichever way round, the latest that began before it.

    Flows without time take nothing. ICMP goes by addresses alone: engines differ in its ports.
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
    at_s = np.concatenate([flows.started_at_s[near] - EARLY_S, things.at_s])
    is_thing = np.arange(len(group)) >= len(near)
    order = np.lexsort((is_thing, at_s, group))
    latest = np.maximum.accumulate(np.where(is_thing[order], -1, np.arange(len(order))))
    found = np.flatnonzero(is_thing[order] & (latest >= 0))
    found = found[group[order[latest[found]]] == group[order[found]]]
    thing, row = order[found] - len(near), near[order[latest[found]]]
    is_in_time = things.at_s[thing] <= flows.ended_at_s[row] + LATE_S
    thing, row = thing[is_in_time], row[is_in_time]
    flow[thing] = row
    is_flipped[thing] = is_turned[thing] != is_flow_turned[row]
    return Joined(flow, is_flipped)


def sightings_from_alerts(flows: FlowBatch, alerts: AlertBatch) -> tuple[SightingBatch, int]:
    """What the alerts say about the flows.

    The attacker is who the rule says, else the flow's originator: its device is the offender, the other end's device
    is the target.

    Returns:
        The sightings, two for each alert with a flow (one per end), and how many alerts have no flow among these.
    """
    joined = join_flows(alerts, flows)
    rows = np.flatnonzero(joined.flow >= 0)
    flow = joined.flow[rows]
    told, flipped = alerts.attacker_is_orig[rows], joined.is_flipped[rows]
    attacker_is_orig = np.where(told == UNKNOWN_SIDE, True, (told == 1) != flipped)
    identity = [(int(alerts.signature_id[row]), alerts.signature[row]) for row in rows.tolist()]
    known = {item: number for number, item in enumerate(sorted(set(identity)))}
    both = [
        SightingBatch(
            flow=flow,
            is_orig=np.full(len(rows), is_orig),
            is_offender=attacker_is_orig == is_orig,
            at_s=np.clip(alerts.at_s[rows], flows.started_at_s[flow], flows.ended_at_s[flow]),
            grade=_alert_grades(alerts)[rows],
            attack_class=_alert_classes(alerts)[rows],
            source=np.array([known[item] for item in identity], dtype=np.int32),
            sources=(),
        )
        for is_orig in (True, False)
    ]
    sources = tuple(
        SightingSource(kind=SightingKind.SIGNATURE, name=f"Suricata signature {number}", origin="", quote=text)
        for number, text in known
    )
    return _thinned(_stacked(both, sources), flows), len(alerts) - len(rows)


def sightings_from_addresses(
    flows: FlowBatch, indicators: IndicatorSet, local_networks: Sequence[IpNetwork] = ()
) -> SightingBatch:
    """Which flows met a listed address or network, while its entry was valid.

    Who began a flow to a listed address is an offender. Who was reached from one is a target, graded one lower where it
    answered and low where it did not: anybody can knock.

    Args:
        flows: timed or not; without time every entry is taken as valid.
        indicators: of any kind; names are passed over.
        local_networks: where the network's own hosts live; lists of private ranges do not accuse them.
    """
    entries = np.flatnonzero(indicators.kind == KIND_CODE[SightingKind.ADDRESS])
    if not len(entries) or not len(flows):
        return SightingBatch.empty()
    both = [_met(flows, indicators, entries, local_networks, is_orig) for is_orig in (True, False)]
    met, source = np.unique(np.concatenate([part.source for part in both]), return_inverse=True)
    stacked = _stacked(both, tuple(_entry_source(indicators, int(entry)) for entry in met))
    columns = {name: getattr(stacked, name) for name in SIGHTING_COLUMNS} | {"source": source.astype(np.int32)}
    return _thinned(SightingBatch(**columns, sources=stacked.sources), flows)


def grade_from_confidence(confidence: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A ``Grade`` for each confidence from 0 to 100, uint8 (n,)."""
    grade = np.full(len(confidence), Grade.LOW, dtype=np.uint8)
    grade[confidence >= MEDIUM_CONFIDENCE] = Grade.MEDIUM
    grade[confidence >= HIGH_CONFIDENCE] = Grade.HIGH
    return grade


def _met(
    flows: FlowBatch,
    indicators: IndicatorSet,
    entries: Rows,
    local_networks: Sequence[IpNetwork],
    is_orig: bool,
) -> SightingBatch:
    """Sightings about one end of the flows; ``source`` is the entry's row."""
    peer = flows.resp_address if is_orig else flows.orig_address
    distinct, inverse = _distinct(peer)
    address, entry = find_networks(distinct, indicators.network[entries], indicators.prefix_length[entries])
    is_foreign = ~is_within(distinct[address], local_networks)
    flow, place = _expand(inverse, address[is_foreign], entries[entry[is_foreign]], len(distinct))
    is_answered = (flows.resp_packets[flow] > 0) | (flows.resp_bytes[flow] > 0)
    at_s = flows.started_at_s[flow] if is_orig else flows.ended_at_s[flow]
    grade = grade_from_confidence(indicators.confidence[place])
    if not is_orig:
        grade = np.where(is_answered, np.maximum(grade, Grade.MEDIUM) - 1, Grade.LOW).astype(np.uint8)
    is_valid = (at_s >= indicators.valid_from_s[place]) & (at_s < indicators.valid_until_s[place])
    kept = np.flatnonzero(is_valid | (not flows.is_timed))
    return SightingBatch(
        flow=flow[kept],
        is_orig=np.full(len(kept), is_orig),
        is_offender=np.full(len(kept), is_orig),
        at_s=at_s[kept],
        grade=grade[kept],
        attack_class=indicators.attack_class[place[kept]],
        source=place[kept].astype(np.int32),
        sources=(),
    )


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
        keys = _exact_keys(np.concatenate([_masked(addresses, length), network[members]]))
        own, listed = keys[: len(addresses)], keys[len(addresses) :]
        order = np.argsort(listed, kind="stable")
        first, last = (np.searchsorted(listed[order], own, side=side) for side in ("left", "right"))
        rows, place = _spread(first, last - first)
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
        inside |= (_masked(addresses, length) == first).all(axis=1)
    return inside


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


def _exact_keys(addresses: Addresses) -> npt.NDArray[np.int64]:
    """One number per address, equal just where the addresses are."""
    high, low = (np.unique(column, return_inverse=True)[1] for column in addresses.T)
    return np.asarray(high.astype(np.int64) * len(addresses) + low)


def _distinct(addresses: Addresses) -> tuple[Addresses, Rows]:
    """The different addresses, and for each row which it is."""
    _, first, inverse = np.unique(_exact_keys(addresses), return_index=True, return_inverse=True)
    return addresses[first], inverse.astype(np.int64)


def _masked(addresses: Addresses, length: int) -> Addresses:
    """The addresses without the bits behind the prefix."""
    bits = (((1 << length) - 1) << (128 - length)) if length else 0
    mask = np.array([bits >> 64, bits & 0xFFFF_FFFF_FFFF_FFFF], dtype=np.uint64)
    return np.asarray(addresses & mask)


def _spread(first: npt.NDArray[np.int64], count: npt.NDArray[np.int64]) -> tuple[Rows, Rows]:
    """Row i ``count[i]`` times, beside ``first[i]`` and the numbers that follow it."""
    rows = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    return rows, first[rows] + within


def _expand(inverse: Rows, address: Rows, entry: Rows, address_count: int) -> tuple[Rows, Rows]:
    """From hits of distinct addresses, sorted by address, to hits of rows: the rows, and the entries that they hit."""
    count = np.bincount(address, minlength=address_count)
    first = np.cumsum(count) - count
    rows = np.flatnonzero(count[inverse])
    which, place = _spread(first[inverse[rows]], count[inverse[rows]])
    return rows[which], entry[place]


def _stacked(parts: Sequence[SightingBatch], sources: tuple[SightingSource, ...]) -> SightingBatch:
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in SIGHTING_COLUMNS}
    return SightingBatch(**columns, sources=sources)


def _thinned(sightings: SightingBatch, flows: FlowBatch) -> SightingBatch:
    """The first of each end's address, role, source, grade and hour, in order of time."""
    order = np.lexsort((sightings.source, sightings.is_orig, sightings.flow, sightings.at_s))
    ordered = sightings.take(order)
    own = np.where(ordered.is_orig[:, None], flows.orig_address[ordered.flow], flows.resp_address[ordered.flow])
    key = np.stack(
        [
            _exact_keys(own),
            ordered.source.astype(np.int64),
            ordered.grade.astype(np.int64) * 2 + ordered.is_offender,
            np.floor(ordered.at_s / HOUR_S).astype(np.int64),
        ],
        axis=1,
    )
    _, first = np.unique(key, axis=0, return_index=True)
    return ordered.take(np.sort(first))


def _alert_grades(alerts: AlertBatch) -> npt.NDArray[np.uint8]:
    """By severity, one lower where the rule's author does not trust it, low where the category is no attack."""
    table = np.full(256, Grade.LOW, dtype=np.uint8)
    table[: len(GRADE_OF_SEVERITY)] = GRADE_OF_SEVERITY
    grade = table[alerts.severity]
    grade = np.where(alerts.confidence == 1, np.maximum(grade, Grade.MEDIUM) - 1, grade)
    is_mild = np.array([text.lower() in MILD_CATEGORIES for text in alerts.category], dtype=np.bool_)
    return np.where(is_mild, Grade.LOW, grade).astype(np.uint8)


def _alert_classes(alerts: AlertBatch) -> npt.NDArray[np.int8]:
    found = (CLASS_OF_CATEGORY.get(text.lower()) for text in alerts.category)
    return np.array([NO_CLASS if item is None else CLASS_INDEX[item] for item in found], dtype=np.int8)


def _entry_source(indicators: IndicatorSet, entry: int) -> SightingSource:
    high, low = indicators.network[entry].tolist()
    address, length = address_from_words(high, low), int(indicators.prefix_length[entry])
    bits = length - 96 if address.version == 4 else length
    return SightingSource(
        kind=SightingKind.ADDRESS,
        name=str(address) if bits == address.max_prefixlen else f"{address}/{bits}",
        origin=indicators.origin[entry],
        quote=indicators.quote[entry],
    )
