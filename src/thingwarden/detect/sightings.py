"""Joins what others know to the flows: alerts by the ends that they name, lists by the addresses that were met.

In: ``FlowBatch``, and ``AlertBatch`` or ``IndicatorSet``. Out: ``SightingBatch``, at most one per end of flows, rule or
entry, grade and hour.
Must never: run Python per flow, depend on the order of alerts or lists, or accuse a host for being local.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.detect.lookup import (
    Rows,
    distinct_addresses,
    exact_keys,
    expand_hits,
    find_networks,
    is_within,
    join_flows,
)
from thingwarden.domain.address import IpNetwork
from thingwarden.domain.alert import UNKNOWN_SIDE, AlertBatch
from thingwarden.domain.flow import FlowBatch, address_from_words
from thingwarden.domain.heard_name import HeardNames
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

HOUR_S: Final = 3600.0
"""A rule or entry counts once in each such span of traffic time, per end of a flow."""

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

MAX_LABELS: Final = 128
"""A domain has at most 127."""


def sightings_from_alerts(
    flows: FlowBatch, alerts: AlertBatch, local_networks: Sequence[IpNetwork] = ()
) -> tuple[SightingBatch, int]:
    """What the alerts say about the flows.

    The attacker is who the rule says, else the flow's originator: its device is the offender, the other end's device
    is the target, graded one lower where the attacker is local: the attacker's own incident tells of it, and a resolver
    is no victim of the questions that it is asked.

    Args:
        flows: timed; others take no alert.
        alerts: in any order.
        local_networks: where the network's own hosts live.

    Returns:
        The sightings, two for each alert with a flow (one per end), and how many alerts have no flow among these.
    """
    joined = join_flows(alerts, flows, alerts.flow_started_at_s)
    rows = np.flatnonzero(joined.flow >= 0)
    flow = joined.flow[rows]
    told, flipped = alerts.attacker_is_orig[rows], joined.is_flipped[rows]
    attacker_is_orig = np.where(told == UNKNOWN_SIDE, True, (told == 1) != flipped)
    identity = [(int(alerts.signature_id[row]), alerts.signature[row]) for row in rows.tolist()]
    known = {item: number for number, item in enumerate(sorted(set(identity)))}
    attacker = np.where(attacker_is_orig[:, None], flows.orig_address[flow], flows.resp_address[flow])
    is_attacker_local, grade = is_within(attacker, local_networks), _alert_grades(alerts)[rows]
    both = [
        SightingBatch(
            flow=flow,
            is_orig=np.full(len(rows), is_orig),
            is_offender=attacker_is_orig == is_orig,
            at_s=np.clip(alerts.at_s[rows], flows.started_at_s[flow], flows.ended_at_s[flow]),
            grade=np.where(is_attacker_local & (attacker_is_orig != is_orig), _lowered(grade), grade).astype(np.uint8),
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
    distinct, inverse = distinct_addresses(peer)
    address, entry = find_networks(distinct, indicators.network[entries], indicators.prefix_length[entries])
    is_foreign = ~is_within(distinct[address], local_networks)
    flow, place = expand_hits(inverse, address[is_foreign], entries[entry[is_foreign]], len(distinct))
    is_answered = (flows.resp_packets[flow] > 0) | (flows.resp_bytes[flow] > 0)
    at_s = flows.started_at_s[flow] if is_orig else flows.ended_at_s[flow]
    grade = grade_from_confidence(indicators.confidence[place])
    if not is_orig:
        grade = np.where(is_answered, _lowered(grade), Grade.LOW).astype(np.uint8)
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


class NameIndex:
    """Finds the entries that list a name.

    Args:
        indicators: of any kind; addresses are passed over.
    """

    def __init__(self, indicators: IndicatorSet) -> None:
        self._entries: dict[tuple[int, str], list[int]] = {}
        for row in np.flatnonzero(indicators.kind != KIND_CODE[SightingKind.ADDRESS]).tolist():
            self._entries.setdefault((int(indicators.kind[row]), indicators.name[row]), []).append(row)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def find(self, kind: int, name: str) -> list[int]:
        """Rows of the entries that list ``name`` itself, or all subdomains of a domain above it."""
        found = list(self._entries.get((kind, name), ()))
        if kind == KIND_CODE[SightingKind.DOMAIN]:
            labels = name.split(".")[:MAX_LABELS]
            for start in range(1, len(labels)):
                found += self._entries.get((kind, f"*.{'.'.join(labels[start:])}"), ())
        return found

    def has(self, name: str) -> bool:
        """Whether any entry lists ``name``, of whatever kind."""
        return any(self.find(kind, name) for kind in KIND_CODE.values())


def sightings_from_names(flows: FlowBatch, names: HeardNames, indicators: IndicatorSet) -> tuple[SightingBatch, int]:
    """Which flows said a listed name, while its entry was valid; who began the flow is the offender.

    A name that was only asked for is graded one lower: asking is not connecting, and resolvers ask for others.

    Returns:
        The sightings, and how many listed names were heard in none of these flows.
    """
    joined, index = join_flows(names, flows), NameIndex(indicators)
    hits = [(row, entry) for row in range(len(names)) for entry in index.find(int(names.kind[row]), names.name[row])]
    row, entry = np.array(hits, dtype=np.int64).reshape(len(hits), 2).T
    at_s, flow = names.at_s[row], joined.flow[row]
    is_valid = (at_s >= indicators.valid_from_s[entry]) & (at_s < indicators.valid_until_s[entry])
    stray_count = int((is_valid & (flow < 0)).sum())
    kept = np.flatnonzero(is_valid & (flow >= 0))
    row, entry, flow = row[kept], entry[kept], flow[kept]
    grade = grade_from_confidence(indicators.confidence[entry])
    grade = np.where(names.is_question[row], _lowered(grade), grade).astype(np.uint8)
    met, source = np.unique(entry, return_inverse=True)
    sightings = SightingBatch(
        flow=flow,
        is_orig=np.ones(len(kept), dtype=np.bool_),
        is_offender=np.ones(len(kept), dtype=np.bool_),
        at_s=np.clip(at_s[kept], flows.started_at_s[flow], flows.ended_at_s[flow]),
        grade=grade,
        attack_class=indicators.attack_class[entry],
        source=source.astype(np.int32),
        sources=tuple(_entry_source(indicators, int(item)) for item in met),
    )
    return _thinned(sightings, flows), stray_count


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
            exact_keys(own),
            ordered.source.astype(np.int64),
            ordered.grade.astype(np.int64) * 2 + ordered.is_offender,
            np.floor(ordered.at_s / HOUR_S).astype(np.int64),
        ],
        axis=1,
    )
    _, first = np.unique(key, axis=0, return_index=True)
    return ordered.take(np.sort(first))


def _lowered(grade: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The grades one lower, as far as there is a lower one."""
    return np.asarray(np.maximum(grade, Grade.MEDIUM) - 1, dtype=np.uint8)


def _alert_grades(alerts: AlertBatch) -> npt.NDArray[np.uint8]:
    """By severity, one lower where the rule's author does not trust it, low where the category is no attack."""
    table = np.full(256, Grade.LOW, dtype=np.uint8)
    table[: len(GRADE_OF_SEVERITY)] = GRADE_OF_SEVERITY
    grade = table[alerts.severity]
    grade = np.where(alerts.confidence == 1, _lowered(grade), grade)
    is_mild = np.array([text.lower() in MILD_CATEGORIES for text in alerts.category], dtype=np.bool_)
    return np.where(is_mild, Grade.LOW, grade).astype(np.uint8)


def _alert_classes(alerts: AlertBatch) -> npt.NDArray[np.int8]:
    found = (CLASS_OF_CATEGORY.get(text.lower()) for text in alerts.category)
    return np.array([NO_CLASS if item is None else CLASS_INDEX[item] for item in found], dtype=np.int8)


def _entry_source(indicators: IndicatorSet, entry: int) -> SightingSource:
    kind = next(kind for kind, code in KIND_CODE.items() if code == indicators.kind[entry])
    origin, quote = indicators.origin[entry], indicators.quote[entry]
    if kind is not SightingKind.ADDRESS:
        return SightingSource(kind=kind, name=indicators.name[entry], origin=origin, quote=quote)
    high, low = indicators.network[entry].tolist()
    address, length = address_from_words(high, low), int(indicators.prefix_length[entry])
    bits = length - 96 if address.version == 4 else length
    return SightingSource(
        kind=kind,
        name=str(address) if bits == address.max_prefixlen else f"{address}/{bits}",
        origin=origin,
        quote=quote,
    )
